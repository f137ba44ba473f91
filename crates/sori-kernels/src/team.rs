//! A team of threads for many small pieces of work: an idle member spins for a while before it sleeps, so that handing out
//! work costs well under a microsecond while a computation runs, and no CPU time when none does.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::{self, JoinHandle, Thread};

/// Turns of the spin loop before a member sleeps: about 100 µs.
const SPINS: u32 = 3_000;

/// The largest team.
const MOST_THREADS: usize = 1024;

/// Threads that work together; the caller is one of them.
pub struct Team {
    shared: Arc<State>,
    threads: Vec<(JoinHandle<()>, Thread)>,
    /// Held while work is handed out: a second caller finds it taken and works alone, so that nobody waits.
    busy: Mutex<()>,
}

struct State {
    /// Tasks of the present job that nobody has claimed; a claim lowers it by one.
    unclaimed: AtomicUsize,
    done: AtomicUsize,
    /// The present job; valid while a claimed task is not done.
    job: AtomicPtr<Job<'static>>,
    asleep: Vec<AtomicBool>,
    stop: AtomicBool,
    /// The first panic of the job; a lock, for it is taken at most once a task and never waited for long.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

struct Job<'a> {
    tasks: usize,
    task: &'a (dyn Fn(usize, usize) + Sync),
}

impl Team {
    /// A team of `threads` members, 1 to 1024, the caller included; those beyond the first are started now.
    ///
    /// Where the system refuses a thread, the team is smaller.
    pub fn new(threads: usize) -> Self {
        let members = threads.clamp(1, MOST_THREADS) - 1;
        let shared = Arc::new(State {
            unclaimed: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            job: AtomicPtr::new(std::ptr::null_mut()),
            asleep: (0..members).map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let start = |member: usize| {
            let shared = Arc::clone(&shared);
            let started = thread::Builder::new()
                .name(format!("sori-team-{}", member + 1))
                .spawn(move || shared.serve(member));
            started.ok().map(|handle| {
                let thread = handle.thread().clone();
                (handle, thread)
            })
        };
        let threads = (0..members).map_while(start).collect();
        Self {
            shared,
            threads,
            busy: Mutex::new(()),
        }
    }

    /// Members, the caller included.
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Calls `task(index, member)` for every index below `tasks`, in any order, and returns when all are done.
    ///
    /// Where the team is busy, with another caller or with a task that calls this, the caller works alone, as member 0: what
    /// members own must be locked.
    ///
    /// # Panics
    /// When a task panics; the others may or may not have been done.
    pub fn run(&self, tasks: usize, task: impl Fn(usize, usize) + Sync) {
        if tasks < 2 || self.threads.is_empty() {
            (0..tasks).for_each(|index| task(index, 0));
            return;
        }
        let free = match self.busy.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if free.is_none() {
            (0..tasks).for_each(|index| task(index, 0));
            return;
        }
        let job = Job { tasks, task: &task };
        let shared = &*self.shared;
        shared.done.store(0, Ordering::Relaxed);
        let pointer = std::ptr::from_ref(&job).cast_mut().cast();
        shared.job.store(pointer, Ordering::Relaxed);
        shared.unclaimed.store(tasks, Ordering::SeqCst);
        for ((_, thread), asleep) in self.threads.iter().zip(&shared.asleep) {
            if asleep.load(Ordering::SeqCst) {
                thread.unpark();
            }
        }
        while shared.work(0) {}
        let mut turns = 0u32;
        while shared.done.load(Ordering::Acquire) < tasks {
            turns += 1;
            if turns.is_multiple_of(SPINS) {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
        let panicked = shared.panic.lock().map_or(None, |mut p| p.take());
        drop(free);
        if let Some(panicked) = panicked {
            resume_unwind(panicked);
        }
    }

    /// Calls `task(item, member)` for every item.
    ///
    /// # Panics
    /// As [`Team::run`].
    pub fn each<T: Send>(&self, items: &mut [T], task: impl Fn(&mut T, usize) + Sync) {
        let first = Shared(items.as_mut_ptr());
        self.run(items.len(), |index, member| {
            // SAFETY: every index below the length is handed out once, so that no two borrows are of the same item.
            task(unsafe { &mut *first.get().add(index) }, member);
        });
    }
}

/// A value full of pointers that several members use, each for other places.
pub(crate) struct Shared<T>(pub T);

// SAFETY: a pointer is only a number; those who follow it state why their places differ.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The value; a closure that calls this borrows the whole and not its field.
    pub(crate) fn get(&self) -> &T {
        &self.0
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for (handle, thread) in self.threads.drain(..) {
            thread.unpark();
            // A member's panic was passed on when it happened.
            drop(handle.join());
        }
    }
}

impl State {
    /// Claims and does one task; returns whether there was one.
    fn work(&self, member: usize) -> bool {
        let claim = |left: usize| left.checked_sub(1);
        let claimed = self
            .unclaimed
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, claim);
        let Ok(left) = claimed else {
            return false;
        };
        // SAFETY: the task claimed above is not done, so that the caller still waits in `run` and its job lives.
        let job = unsafe { &*self.job.load(Ordering::Relaxed) };
        let outcome = catch_unwind(AssertUnwindSafe(|| (job.task)(job.tasks - left, member)));
        if let Err(panic) = outcome
            && let Ok(mut first) = self.panic.lock()
        {
            match &mut *first {
                // Dropping a payload may panic in turn; the first one is what the caller gets.
                Some(_) => std::mem::forget(panic),
                none => *none = Some(panic),
            }
        }
        self.done.fetch_add(1, Ordering::Release);
        true
    }

    fn serve(&self, member: usize) {
        let mut idle = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if self.unclaimed.load(Ordering::Relaxed) > 0 && self.work(member + 1) {
                idle = 0;
                continue;
            }
            idle += 1;
            std::hint::spin_loop();
            if idle > SPINS {
                self.sleep(member);
                idle = 0;
            }
        }
    }

    /// Sleeps until there is work; the flag is raised before the last look, so that no call is missed.
    fn sleep(&self, member: usize) {
        let asleep = &self.asleep[member];
        asleep.store(true, Ordering::SeqCst);
        if self.unclaimed.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
            thread::park();
        }
        asleep.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_however_many_members() {
        for threads in [1, 2, 3, 8] {
            let team = Team::new(threads);
            for tasks in [0, 1, 2, 7, 1000] {
                let mut counts = vec![0u32; tasks];
                team.each(&mut counts, |count, member| {
                    assert!(member < threads);
                    *count += 1;
                });
                assert!(counts.iter().all(|&c| c == 1), "{threads} {tasks}");
            }
        }
    }

    #[test]
    fn a_sleeping_team_wakes() {
        let team = Team::new(3);
        for _ in 0..20 {
            while !team.shared.asleep.iter().all(|a| a.load(Ordering::SeqCst)) {
                thread::yield_now();
            }
            let sum = AtomicUsize::new(0);
            team.run(50, |index, _| {
                sum.fetch_add(index, Ordering::Relaxed);
            });
            assert_eq!(sum.load(Ordering::Relaxed), 49 * 50 / 2);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        let team = Team::new(2);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            team.run(10, |index, _| assert!(index != 5, "task five"));
        }));
        assert!(failed.is_err());
        let done = AtomicUsize::new(0);
        team.run(10, |_, _| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 10);
    }

    #[test]
    fn two_callers_at_once_and_calls_within_tasks_finish() {
        let team = Team::new(2);
        let count = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    team.run(20, |_, _| {
                        team.run(5, |_, _| {
                            count.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                });
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), 200);
    }
}
