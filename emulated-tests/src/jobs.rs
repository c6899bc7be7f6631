//! A job queue for emulators that run in parallel.

use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, bail};

use crate::interrupt;

/// Number of boards that are emulated in parallel.
const AT_A_TIME: usize = 2;

/// Runs `work` for every job and its index, several in parallel, and returns the results in the order of the jobs. The
/// last job starts first.
///
/// # Errors
/// Ctrl-C was pressed.
pub fn run<'j, J: Sync, R: Send>(jobs: &'j [J], work: impl Fn(usize, &'j J) -> R + Sync) -> Result<Vec<R>> {
    let left = Mutex::new(jobs.iter().enumerate().rev());
    let results = Mutex::new(Vec::new());
    let worker = || {
        loop {
            // A job that panicked has left the queue consistent.
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((at, job)) = next.filter(|_| interrupt::count() == 0) else { break };
            let result = work(at, job);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(worker);
        }
    });
    if interrupt::count() > 0 {
        bail!("interrupted")
    }
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_jobs_order() {
        let jobs: Vec<usize> = (0..20).collect();
        let results = run(&jobs, |at, job| (at, job * job)).expect("nobody interrupts");
        assert_eq!(results, jobs.iter().map(|&job| (job, job * job)).collect::<Vec<_>>());
    }
}
