"use strict";
// The pages work by the public API, with the session's cookie in place of a key.

const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function notice(text) {
  const shown = element("p", "", text);
  find("#notices").append(shown);
  setTimeout(() => shown.remove(), 7000);
}

async function api(method, path, body) {
  const isFile = body instanceof Blob;
  const headers = body === undefined ? {} : { "content-type": isFile ? body.type || "application/octet-stream" : "application/json" };
  const answer = await fetch(path, { method, headers, body: isFile || body === undefined ? body : JSON.stringify(body) });
  if (answer.status === 204) return null;
  const document = await answer.json();
  if (answer.ok) return document;
  throw Object.assign(new Error(document.detail || document.title), { status: answer.status });
}

// A form with data-api is sent as JSON. Names that end in [] are lists, numbers stay numbers.
function formValues(form) {
  const values = {};
  for (const field of form.elements) {
    if (!field.name || (/radio|checkbox/.test(field.type) && !field.checked)) continue;
    const value = field.type === "number" ? Number(field.value) : field.value;
    if (field.name.endsWith("[]")) (values[field.name.slice(0, -2)] ||= []).push(value);
    else values[field.name] = value;
  }
  return values;
}

async function sendForm(event) {
  event.preventDefault();
  const form = event.currentTarget;
  if (form.dataset.confirm && !confirm(form.dataset.confirm)) return;
  const [method, path] = form.dataset.api.split(" ");
  try {
    const answer = await api(method, path, /POST|PATCH/.test(method) ? formValues(form) : undefined);
    if (form.dataset.then === "secret") showSecret(form, answer.secret);
    else if (form.dataset.then) location.assign(form.dataset.then.replace(/{(\w+)}/, (_, name) => answer[name]));
    else location.reload();
  } catch (error) {
    notice(error.message);
  }
}

function showSecret(form, secret) {
  find(".secret code", form).textContent = secret;
  find(".secret", form).hidden = false;
}

// ---- the form of a case: six slots, each filled by the camera, by a choice of files or by dropping them

class CaseForm {
  constructor(form) {
    this.form = form;
    this.caseId = form.dataset.case;
    this.making = null;
    this.uploading = 0;
    this.slots = new Map(all(".slot", form).map((slot) => [slot.dataset.view, slot]));
    this.listen();
    if (this.caseId) this.load();
    this.refresh();
  }

  listen() {
    const several = find("#several");
    several.addEventListener("change", () => this.spread([...several.files]).finally(() => (several.value = "")));
    for (const [view, slot] of this.slots) {
      const input = find("input", slot);
      input.addEventListener("click", (event) => this.claimIsGiven() || event.preventDefault());
      input.addEventListener("change", () => input.files[0] && this.put(view, input.files[0]).finally(() => (input.value = "")));
      find(".remove", slot).addEventListener("click", () => this.remove(view));
    }
    this.form.addEventListener("submit", (event) => this.submit(event));
    this.listenForDrops();
    const known = find("#known");
    known?.addEventListener("change", () => all(".other").forEach((field) => (field.hidden = known.value !== "other")));
  }

  listenForDrops() {
    const over = (is) => find("#photos").classList.toggle("dropping", is);
    addEventListener("dragover", (event) => (event.preventDefault(), over(true)));
    addEventListener("dragleave", (event) => event.relatedTarget || over(false));
    addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      const files = [...event.dataTransfer.files];
      const slot = event.target.closest?.(".slot");
      if (!this.claimIsGiven()) return;
      if (slot && files.length === 1) this.put(slot.dataset.view, files[0]);
      else this.spread(files);
    });
  }

  claim() {
    const known = find("#known");
    if (known.value !== "other") return known.selectedOptions[0].dataset;
    return { brand: find("#brand").value.trim(), model: find("#model").value.trim() };
  }

  claimIsGiven() {
    if (this.caseId || this.making) return true;
    const { brand, model } = this.claim();
    if (brand && model) return true;
    notice("Say first what the item is: its brand and model.");
    find("#known").focus();
    return false;
  }

  // The draft begins with its first photograph; from then on the claim stands.
  draft() {
    if (this.caseId) return Promise.resolve(this.caseId);
    this.making ||= this.make().finally(() => (this.making = null));
    return this.making;
  }

  async make() {
    const { brand, model } = this.claim();
    const lane = find("input[name=lane]:checked").value;
    const made = await api("POST", "/v1/cases", { claim: { brand, model }, lane, customer_reference: find("#customer_reference").value.trim() });
    this.caseId = made.id;
    find("#claim").disabled = true;
    history.replaceState(null, "", `/cases/${made.id}`);
    return made.id;
  }

  async load() {
    const found = await api("GET", `/v1/cases/${this.caseId}`);
    for (const photo of found.photos) {
      const slot = this.slots.get(photo.view);
      this.show(slot, find("img", slot).dataset.picture);
      this.say(slot, photo);
    }
    this.refresh();
  }

  // Several files at once: by what the engine sees in them, else by their names, else in order.
  async spread(files) {
    if (!files.length || !this.claimIsGiven()) return;
    const seen = await Promise.all(files.map((file) => api("POST", "/v1/views", file).catch(() => null)));
    const free = new Set([...this.slots.keys()].filter((view) => !this.slots.get(view).classList.contains("taken")));
    if (files.length > free.size) for (const view of this.slots.keys()) free.add(view);
    const pairs = files.flatMap((file, i) => [...free].map((view) => ({ i, view, fit: this.fit(file, seen[i], view) })));
    pairs.sort((a, b) => b.fit - a.fit);
    const placed = new Map();
    for (const { i, view } of pairs) if (!placed.has(i) && free.delete(view)) placed.set(i, view);
    if (placed.size < files.length) notice(`${files.length - placed.size} photographs were left out: there are six views.`);
    await Promise.all([...placed].map(([i, view]) => this.put(view, files[i])));
  }

  fit(file, seen, view) {
    if (seen) return seen.probabilities[view];
    return file.name.toLowerCase().replace(/[^a-z]+/g, "_").includes(view) ? 1 : 0;
  }

  async put(view, file) {
    const slot = this.slots.get(view);
    this.show(slot, URL.createObjectURL(file));
    find(".says", slot).replaceChildren();
    slot.classList.add("busy");
    this.uploading += 1;
    this.refresh();
    try {
      const id = await this.draft();
      this.say(slot, await api("PUT", `/v1/cases/${id}/photos/${view}`, file));
    } catch (error) {
      this.clear(slot);
      find(".says", slot).append(element("p", "advice blocking", error.message));
    }
    slot.classList.remove("busy");
    this.uploading -= 1;
    this.refresh();
  }

  async remove(view) {
    try {
      await api("DELETE", `/v1/cases/${this.caseId}/photos/${view}`);
      this.clear(this.slots.get(view));
    } catch (error) {
      notice(error.message);
    }
    this.refresh();
  }

  show(slot, source) {
    const image = find("img", slot);
    image.src = source;
    image.hidden = false;
    image.alt = `Your photograph: ${slot.dataset.view.replace("_", " ")}`;
    slot.classList.add("taken");
  }

  clear(slot) {
    slot.classList.remove("taken");
    find("img", slot).hidden = true;
    find(".remove", slot).hidden = true;
    find(".says", slot).replaceChildren();
  }

  say(slot, photo) {
    const lines = photo.findings.map((found) => element("p", found.is_blocking ? "advice blocking" : "advice", found.advice));
    if (!lines.length) lines.push(element("p", "advice good", "Sharp, well lit, well framed."));
    find(".says", slot).replaceChildren(...lines);
    find(".remove", slot).hidden = false;
  }

  refresh() {
    const slots = [...this.slots.values()];
    const taken = slots.filter((slot) => slot.classList.contains("taken")).length;
    const doubtful = all(".advice.blocking", this.form).length;
    const open = slots.length - taken;
    const words = doubtful ? `${doubtful} to take again.` : open ? `${open} of ${slots.length} still to take.` : "All views are there.";
    find("#readiness").textContent = taken ? words : "";
    find("#submit").disabled = !taken || this.uploading > 0;
  }

  async submit(event) {
    event.preventDefault();
    const missing = [...this.slots.values()].some((slot) => !slot.classList.contains("taken"));
    if (missing && !confirm("Views are missing. The answer will then be to take more photographs. Submit?")) return;
    find("#submit").disabled = true;
    try {
      await api("POST", `/v1/cases/${this.caseId}/submit`);
      location.assign(`/cases/${this.caseId}`);
    } catch (error) {
      notice(error.message);
      this.refresh();
    }
  }
}

// ---- the progress of a case, as it happens

const STAGES = {
  read: "Photographs read",
  look: "Details seen",
  compare: "Compared with genuine examples",
  search: "Nearest references found",
  judge: "Judged",
  draw: "Heat maps drawn",
};

function follow(section) {
  const list = find(".stages", section);
  const working = find(".working", section);
  const events = new EventSource(`/v1/cases/${section.dataset.case}/events`);
  events.addEventListener("stage", (event) => {
    const { name, ms } = JSON.parse(event.data);
    const line = document.createElement("li");
    line.append(element("span", "", STAGES[name] || name), element("span", "time", `${ms.toFixed(0)} ms`));
    list.insertBefore(line, working);
    find("span", working).textContent = "Examining";
  });
  events.addEventListener("state", (event) => {
    if (JSON.parse(event.data).state === "queued") return;
    events.close();
    location.reload();
  });
}

// The report has no script; its frame is made as high as it is.
function fitReport(frame) {
  const fit = () => (frame.style.height = `${frame.contentDocument.body.offsetHeight}px`);
  frame.addEventListener("load", fit);
  if (frame.contentDocument?.readyState === "complete") fit();
  new ResizeObserver(fit).observe(frame.parentElement);
}

all("form[data-api]").forEach((form) => form.addEventListener("submit", sendForm));
all(".filters select").forEach((select) => select.addEventListener("change", () => select.form.requestSubmit()));
all("#case-form").forEach((form) => new CaseForm(form));
all("#progress").forEach(follow);
all("iframe.report").forEach(fitReport);
