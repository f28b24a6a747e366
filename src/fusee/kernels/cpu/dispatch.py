"""The SPMD dispatcher, compiled into every code image: all threads walk the same table of steps, each on its share.

A worker makes one foreign call for life: it watches the context's go word, spins, then sleeps on it (futex). A run is
one call by the caller's thread: it bumps the go word, walks the table as thread 0, and returns when all have arrived.
A barrier is one shared counter that only grows: each thread adds one and waits for the sum. Waiting threads pause, and
yield the processor when the others take long, as they do when the machine is oversubscribed.

Layout of context and step records: ``fusee.engine.abi``. Kernels run with the default floating-point state (MXCSR
0x1F80), whatever the caller has set. The system calls are written for Linux on x86-64.
"""

from __future__ import annotations

from fusee.engine import abi

DECLARATIONS = frozenset(
    {
        "declare void @llvm.x86.sse2.pause()",
        "declare i64 @llvm.readcyclecounter()",
        "declare void @llvm.x86.sse.stmxcsr(ptr)",
        "declare void @llvm.x86.sse.ldmxcsr(ptr)",
    }
)

PAUSES_BEFORE_YIELD = 1500  # fewer give whole time slices away at every barrier when the machine is busy
_SYS_SCHED_YIELD, _SYS_FUTEX = 24, 202
_FUTEX_WAIT_PRIVATE, _FUTEX_WAKE_PRIVATE = 128, 129
_SYSCALL = '"={rax},{rax},{rdi},{rsi},{rdx},{r10},~{rcx},~{r11},~{memory}"'
_DEFAULT_MXCSR = 0x1F80

_FUTEX = f"""
define internal void @fusee_futex(ptr %word, i64 %operation, i64 %value) nounwind {{
  %r = call i64 asm sideeffect "syscall", {_SYSCALL}(i64 {_SYS_FUTEX}, ptr %word, i64 %operation, i64 %value, i64 0)
  ret void
}}
"""

# Returns when the arrivals of all threads together reach the target; the caller has already counted itself.
_AWAIT = f"""
define internal void @fusee_await(ptr %ctx, i64 %target) noinline nounwind {{
entry:
  %arrived = getelementptr i8, ptr %ctx, i64 {abi.CTX_ARRIVED}
  br label %look
look:
  %tries = phi i64 [ 0, %entry ], [ %more, %pause ], [ 0, %yield ]
  %now = load atomic i64, ptr %arrived acquire, align 64
  %met = icmp sge i64 %now, %target
  br i1 %met, label %done, label %wait
wait:
  %long = icmp uge i64 %tries, {PAUSES_BEFORE_YIELD}
  br i1 %long, label %yield, label %pause
pause:
  call void @llvm.x86.sse2.pause()
  %more = add i64 %tries, 1
  br label %look
yield:
  %r = call i64 asm sideeffect "syscall", {_SYSCALL}(i64 {_SYS_SCHED_YIELD}, i64 0, i64 0, i64 0, i64 0)
  br label %look
done:
  ret void
}}
"""

# Walks the table as one thread; returns the arrivals that complete the run, itself counted, not waited for.
_STEPS = f"""
define internal i64 @fusee_steps(ptr %ctx, i64 %thread, i64 %threads, i64 %target0) noinline nounwind {{
entry:
  %mxcsr = alloca i32
  %saved = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %saved)
  store i32 {_DEFAULT_MXCSR}, ptr %mxcsr
  call void @llvm.x86.sse.ldmxcsr(ptr %mxcsr)
  %arrived = getelementptr i8, ptr %ctx, i64 {abi.CTX_ARRIVED}
  %stepsp = getelementptr i8, ptr %ctx, i64 {abi.CTX_STEPS}
  %steps = load ptr, ptr %stepsp
  %countp = getelementptr i8, ptr %ctx, i64 {abi.CTX_STEP_COUNT}
  %count = load i64, ptr %countp
  %scratchp = getelementptr i8, ptr %ctx, i64 {abi.CTX_SCRATCH}
  %scratch0 = load ptr, ptr %scratchp
  %stridep = getelementptr i8, ptr %ctx, i64 {abi.CTX_SCRATCH_STRIDE}
  %stride = load i64, ptr %stridep
  %mine = mul i64 %stride, %thread
  %scratch = getelementptr i8, ptr %scratch0, i64 %mine
  %stampsp = getelementptr i8, ptr %ctx, i64 {abi.CTX_STAMPS}
  %stamps = load ptr, ptr %stampsp
  %timed = icmp ne ptr %stamps, null
  %several = icmp ugt i64 %threads, 1
  %next = add i64 %thread, 1
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %i1, %after ]
  %target = phi i64 [ %target0, %entry ], [ %target2, %after ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %step, label %end
step:
  %at = mul i64 %i, {abi.STEP_BYTES}
  %record = getelementptr i8, ptr %steps, i64 %at
  %fnp = getelementptr i8, ptr %record, i64 {abi.STEP_FUNCTION}
  %fn = load ptr, ptr %fnp
  %argsp = getelementptr i8, ptr %record, i64 {abi.STEP_ARGS}
  %args = load ptr, ptr %argsp
  %unitsp = getelementptr i8, ptr %record, i64 {abi.STEP_UNITS}
  %units = load i64, ptr %unitsp
  %flagsp = getelementptr i8, ptr %record, i64 {abi.STEP_FLAGS}
  %flags = load i64, ptr %flagsp
  %bit = and i64 %flags, {abi.FLAG_WAITS}
  %waits = icmp ne i64 %bit, 0
  %meet = and i1 %waits, %several
  br i1 %meet, label %barrier, label %share
barrier:
  %target1 = add i64 %target, %threads
  %b = atomicrmw add ptr %arrived, i64 1 acq_rel
  call void @fusee_await(ptr %ctx, i64 %target1)
  br label %share
share:
  %target2 = phi i64 [ %target, %step ], [ %target1, %barrier ]
  %lo0 = mul i64 %units, %thread
  %lo = udiv i64 %lo0, %threads
  %hi0 = mul i64 %units, %next
  %hi = udiv i64 %hi0, %threads
  br i1 %timed, label %timed.call, label %plain
plain:
  %some = icmp ult i64 %lo, %hi
  br i1 %some, label %call, label %after
call:
  call void %fn(ptr %args, i64 %lo, i64 %hi, ptr %scratch)
  br label %after
timed.call:
  %row = mul i64 %i, %threads
  %cell = add i64 %row, %thread
  %pair = shl i64 %cell, 4
  %begin = getelementptr i8, ptr %stamps, i64 %pair
  %finish = getelementptr i8, ptr %begin, i64 8
  %t0 = call i64 @llvm.readcyclecounter()
  store i64 %t0, ptr %begin
  %any = icmp ult i64 %lo, %hi
  br i1 %any, label %work, label %stamp
work:
  call void %fn(ptr %args, i64 %lo, i64 %hi, ptr %scratch)
  br label %stamp
stamp:
  %t1 = call i64 @llvm.readcyclecounter()
  store i64 %t1, ptr %finish
  br label %after
after:
  %i1 = add i64 %i, 1
  br label %head
end:
  call void @llvm.x86.sse.ldmxcsr(ptr %saved)
  br i1 %several, label %arrive, label %return
arrive:
  %last = add i64 %target, %threads
  %e = atomicrmw add ptr %arrived, i64 1 acq_rel
  br label %return
return:
  %result = phi i64 [ %target, %end ], [ %last, %arrive ]
  ret i64 %result
}}
"""

_RUN = f"""
define void @{abi.RUN}(ptr %ctx) nounwind {{
entry:
  %threadsp = getelementptr i8, ptr %ctx, i64 {abi.CTX_THREADS}
  %threads = load i64, ptr %threadsp
  %targetp = getelementptr i8, ptr %ctx, i64 {abi.CTX_TARGET}
  %target = load i64, ptr %targetp
  %several = icmp ugt i64 %threads, 1
  br i1 %several, label %start, label %alone
alone:
  %a = call i64 @fusee_steps(ptr %ctx, i64 0, i64 1, i64 0)
  ret void
start:
  %go = getelementptr i8, ptr %ctx, i64 {abi.CTX_GO}
  %g = atomicrmw add ptr %go, i32 1 seq_cst
  %sleepersp = getelementptr i8, ptr %ctx, i64 {abi.CTX_SLEEPERS}
  %sleepers = load atomic i32, ptr %sleepersp seq_cst, align 64
  %awake = icmp eq i32 %sleepers, 0
  br i1 %awake, label %walk, label %wake
wake:
  call void @fusee_futex(ptr %go, i64 {_FUTEX_WAKE_PRIVATE}, i64 {2**31 - 1})
  br label %walk
walk:
  %end = call i64 @fusee_steps(ptr %ctx, i64 0, i64 %threads, i64 %target)
  store i64 %end, ptr %targetp
  call void @fusee_await(ptr %ctx, i64 %end)
  ret void
}}
"""

_WORKER = f"""
define void @{abi.WORKER}(ptr %ctx, i64 %thread) nounwind {{
entry:
  %go = getelementptr i8, ptr %ctx, i64 {abi.CTX_GO}
  %sleepers = getelementptr i8, ptr %ctx, i64 {abi.CTX_SLEEPERS}
  %stopp = getelementptr i8, ptr %ctx, i64 {abi.CTX_STOP}
  %threadsp = getelementptr i8, ptr %ctx, i64 {abi.CTX_THREADS}
  %threads = load i64, ptr %threadsp
  %spinp = getelementptr i8, ptr %ctx, i64 {abi.CTX_SPIN}
  %spin = load i64, ptr %spinp
  br label %idle
idle:
  %seen = phi i32 [ 0, %entry ], [ %now, %walk ]
  %target = phi i64 [ 0, %entry ], [ %end, %walk ]
  br label %look
look:
  %tries = phi i64 [ 0, %idle ], [ %more, %pause ]
  %word = load atomic i32, ptr %go acquire, align 64
  %new = icmp ne i32 %word, %seen
  br i1 %new, label %ready, label %wait
wait:
  %long = icmp uge i64 %tries, %spin
  br i1 %long, label %doze, label %pause
pause:
  call void @llvm.x86.sse2.pause()
  %more = add i64 %tries, 1
  br label %look
doze:
  %s = atomicrmw add ptr %sleepers, i32 1 seq_cst
  %expected = zext i32 %seen to i64
  br label %sleep
sleep:
  call void @fusee_futex(ptr %go, i64 {_FUTEX_WAIT_PRIVATE}, i64 %expected)
  %again = load atomic i32, ptr %go seq_cst, align 64
  %same = icmp eq i32 %again, %seen
  br i1 %same, label %sleep, label %rise
rise:
  %r = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  br label %ready
ready:
  %now = load atomic i32, ptr %go acquire, align 64
  %stop = load atomic i32, ptr %stopp acquire, align 64
  %over = icmp ne i32 %stop, 0
  br i1 %over, label %return, label %walk
walk:
  %end = call i64 @fusee_steps(ptr %ctx, i64 %thread, i64 %threads, i64 %target)
  br label %idle
return:
  ret void
}}
"""

_STOP = f"""
define void @{abi.STOP}(ptr %ctx) nounwind {{
  %stopp = getelementptr i8, ptr %ctx, i64 {abi.CTX_STOP}
  store atomic i32 1, ptr %stopp seq_cst, align 64
  %go = getelementptr i8, ptr %ctx, i64 {abi.CTX_GO}
  %g = atomicrmw add ptr %go, i32 1 seq_cst
  call void @fusee_futex(ptr %go, i64 {_FUTEX_WAKE_PRIVATE}, i64 {2**31 - 1})
  ret void
}}
"""

_TICKS = f"""
define i64 @{abi.TICKS}() nounwind {{
  %t = call i64 @llvm.readcyclecounter()
  ret i64 %t
}}
"""

DISPATCH_TEXT = "".join((_FUTEX, _AWAIT, _STEPS, _RUN, _WORKER, _STOP, _TICKS))
