//! Threads that share the rows of large matrices, the vectors of a batch, or the heads of attention.
//!
//! A strip of rows is divided into parts: of its rows, or for a batch of its vectors. The heads of a layer's attention are a strip,
//! too, which the engine divides. The session's thread and the workers take one part after the other, until none is left. So a
//! worker that sleeps, or that the system does not run, delays nothing that it has not begun. Each sum is computed by one thread:
//! the bits are those of one thread.
//!
//! On a busy computer several threads can be slower than one. So some strips are multiplied both ways and timed, time and again,
//! and the others in the way that is faster.

use std::hint::spin_loop;
use std::mem;
use std::ops::Range;
use std::process::abort;
use std::ptr;
use std::slice;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};
use std::sync::{Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rillm::kernels::{AttentionPart, Kernel, Multiply, OutputScale, Rows, Vectors};
use rillm::{Session, WeightSource};

/// The largest number of threads.
const MOST: u32 = 64;
/// The most threads unless an option says otherwise: a strip of the models that a board can hold feeds no more.
const MOST_BY_DEFAULT: usize = 8;
/// Weights of a part, at least. A processor multiplies them in half a microsecond or so; handing them over takes less.
const PART: usize = 8192;
/// Turns in which an idle worker looks for a strip before it sleeps: some tens of microseconds.
const PATIENCE: u32 = 10_000;

/// What all threads multiply.
struct Strip<'a> {
    work: Work<'a>,
    /// Rows of a part, or vectors of a batch, or the engine's parts of attention.
    part: usize,
}

/// What is multiplied, and where the results go.
enum Work<'a> {
    /// Rows by one vector, whose outputs are computed.
    One { rows: Rows<'a>, x: &'a [i16], scale: OutputScale, outputs: *mut [i32] },
    /// Rows by a batch, whose sums are computed.
    Batch { rows: Rows<'a>, x: Vectors<'a>, sums: *mut [i64] },
    /// Queries and weights by keys and values.
    Attention { parts: *mut [AttentionPart<'a>], products: usize },
}

/// Number of kinds of work.
const KINDS: usize = 3;

impl Strip<'_> {
    /// Number of rows that are shared, or of vectors, or of the engine's parts.
    fn shared(&self) -> usize {
        match &self.work {
            Work::One { rows, .. } => rows.len(),
            Work::Batch { x, .. } => x.len(),
            Work::Attention { parts, .. } => parts.len(),
        }
    }

    /// The number of the kind of work.
    fn kind(&self) -> usize {
        match &self.work {
            Work::One { .. } => 0,
            Work::Batch { .. } => 1,
            Work::Attention { .. } => 2,
        }
    }

    /// Number of parts.
    fn parts(&self) -> usize {
        self.shared().div_ceil(self.part)
    }

    /// The rows or vectors of a part.
    fn of_part(&self, index: usize) -> Range<usize> {
        let first = index * self.part;
        first..self.shared().min(first + self.part)
    }

    /// Number of products.
    fn products(&self) -> usize {
        match &self.work {
            Work::One { rows, x, .. } => rows.len() * x.len(),
            Work::Batch { rows, x, .. } => rows.len() * x.len() * x.get(0).len(),
            Work::Attention { products, .. } => *products,
        }
    }

    /// Multiplies some of the rows, or by some of the vectors, or some of the engine's parts.
    ///
    /// # Safety
    /// What the strip borrows is still there, and nobody else multiplies these at the same time.
    unsafe fn multiply(&self, kernel: &Kernel, shared: Range<usize>) {
        match self.work {
            Work::One { rows, x, scale, outputs } => {
                let rows = rows.split_at(shared.start).1.split_at(shared.len()).0;
                // SAFETY: the rows' outputs lie within the strip's, which has one for each row.
                let outputs = unsafe { slice::from_raw_parts_mut(outputs.cast::<i32>().add(shared.start), rows.len()) };
                kernel.outputs(&rows, x, scale, outputs);
            }
            Work::Batch { rows, x, sums } => {
                let (first, len) = (shared.start * rows.len(), shared.len() * rows.len());
                // SAFETY: the vectors' sums lie within the strip's, which has one for each row and vector.
                let sums = unsafe { slice::from_raw_parts_mut(sums.cast::<i64>().add(first), len) };
                kernel.dot_batch(&rows, x.range(shared), sums);
            }
            Work::Attention { parts, .. } => {
                let first = parts.cast::<AttentionPart<'_>>().wrapping_add(shared.start);
                // SAFETY: these are among the strip's parts.
                let parts = unsafe { slice::from_raw_parts_mut(first, shared.len()) };
                parts.iter_mut().for_each(AttentionPart::run);
            }
        }
    }
}

/// The strip that is being multiplied, and the workers.
struct Pool {
    kernel: &'static Kernel,
    threads: u32,
    /// Trials of each kind of work, by the bit length of the number of products. Locked while the pool multiplies a strip.
    trials: Mutex<[[Trial; usize::BITS as usize]; KINDS]>,
    strip: AtomicPtr<Strip<'static>>,
    /// The number of the strip (32 bits), its parts, and the part to take next (16 bits each).
    parts: AtomicU64,
    /// Parts of this strip that are multiplied.
    done: AtomicU32,
    /// The workers, and whether each sleeps.
    workers: OnceLock<Vec<(Thread, AtomicBool)>>,
}

static POOL: OnceLock<Pool> = OnceLock::new();

/// The option for threads.
#[derive(Clone, Debug, clap::Args)]
pub struct ThreadArgs {
    /// Threads that share large matrices and long attention where that is faster, 1 to 64; without it, the physical cores, at most
    /// 8. The text is the same with any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    threads: Option<u32>,
}

impl ThreadArgs {
    /// The number of threads.
    pub fn number(&self) -> u32 {
        // Of logical cores, as many as this process may use.
        let cores = || num_cpus::get_physical().min(num_cpus::get()).clamp(1, MOST_BY_DEFAULT);
        self.threads.unwrap_or_else(|| cores() as u32)
    }
}

/// Lets a session multiply on `threads` threads.
pub fn use_in<S: WeightSource>(session: &mut Session<'_, S>, threads: u32) -> Result<()> {
    if let Some(pool) = start(threads)? {
        session.set_multiplier(pool);
    }
    Ok(())
}

/// Starts the workers, once. Returns the multiplication on `threads` threads, one of them the caller's; `None` for one.
fn start(threads: u32) -> Result<Option<&'static Pool>> {
    if threads <= 1 {
        return Ok(None);
    }
    let pool = POOL.get_or_init(|| Pool::new(threads));
    if pool.workers.get().is_none() {
        let spawn = |index| {
            let builder = thread::Builder::new().name(format!("rows {index}"));
            let handle = builder.spawn(move || pool.work(index)).context("cannot start a thread")?;
            Ok((handle.thread().clone(), AtomicBool::new(false)))
        };
        let workers = (0..threads as usize - 1).map(spawn).collect::<Result<_>>()?;
        pool.workers.get_or_init(|| workers);
    }
    Ok(Some(pool))
}

impl Multiply for Pool {
    fn dot(&self, rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
        self.kernel.dot(rows, x, sums);
    }

    fn dot_batch(&self, rows: &Rows<'_>, x: Vectors<'_>, sums: &mut [i64]) {
        let all = self.threads as usize;
        let is_large = rows.len() * x.get(0).len() * x.len() >= all * PART;
        // Whole eights of vectors, which the kernels multiply together.
        let part = if is_large { x.len().div_ceil(all).next_multiple_of(8) } else { x.len() };
        let work = Work::Batch { rows: *rows, x, sums: &mut sums[..rows.len() * x.len()] };
        self.multiply(&Strip { work, part });
    }

    fn outputs(&self, rows: &Rows<'_>, x: &[i16], scale: OutputScale, outputs: &mut [i32]) {
        let least = PART.div_ceil(x.len().max(1));
        // Whole eights of rows, which the kernels multiply together; four parts for each thread, so that all end at about the same
        // time.
        let part = rows.len().div_ceil(4 * self.threads as usize).max(least).next_multiple_of(8);
        let work = Work::One { rows: *rows, x, scale, outputs: &mut outputs[..rows.len()] };
        self.multiply(&Strip { work, part });
    }

    fn threads(&self) -> usize {
        self.threads as usize
    }

    fn attend(&self, parts: &mut [AttentionPart<'_>]) {
        let products = parts.iter().map(AttentionPart::products).sum();
        self.multiply(&Strip { work: Work::Attention { parts, products }, part: 1 });
    }
}

impl Pool {
    fn new(threads: u32) -> Self {
        Self {
            kernel: Kernel::fastest(),
            threads,
            trials: Mutex::new([[Trial::default(); usize::BITS as usize]; KINDS]),
            strip: AtomicPtr::new(ptr::null_mut()),
            parts: AtomicU64::new(0),
            done: AtomicU32::new(0),
            workers: OnceLock::new(),
        }
    }

    /// Multiplies a strip, together with the workers if that is faster.
    fn multiply(&self, strip: &Strip<'_>) {
        // SAFETY: no other thread has the strip.
        let alone = || unsafe { strip.multiply(self.kernel, 0..strip.shared()) };
        if !(2..1 << 16).contains(&strip.parts()) {
            return alone();
        }
        let Ok(mut trials) = self.trials.try_lock() else {
            return alone();
        };
        let products = strip.products();
        let trial = &mut trials[strip.kind()][products.ilog2() as usize];
        let (shared, timed) = trial.next();
        let start = timed.then(Instant::now);
        if shared {
            self.share(strip)
        } else {
            alone()
        }
        if let Some(start) = start {
            trial.record(shared, start.elapsed(), products);
        }
    }

    /// Multiplies a strip together with the workers.
    fn share(&self, strip: &Strip<'_>) {
        let parts = strip.parts() as u64;
        self.strip.store((&raw const *strip).cast_mut().cast(), Relaxed);
        self.done.store(0, Relaxed);
        let number = (self.parts.load(Relaxed) >> 32).wrapping_add(1) as u32;
        // Not before this can a worker take a part.
        self.parts.store(u64::from(number) << 32 | parts << 16, SeqCst);
        for (thread, sleeps) in self.workers.get().into_iter().flatten() {
            if sleeps.load(SeqCst) {
                thread.unpark();
            }
        }
        while let Some(part) = self.take() {
            self.multiply_part(part);
        }
        // The workers use what this function borrows, until they are done.
        let mut turns = 0u32;
        while u64::from(self.done.load(Acquire)) < parts {
            turns += 1;
            if turns.is_multiple_of(PATIENCE) { thread::yield_now() } else { spin_loop() }
        }
    }

    /// The next part of the current strip, if any is left. It stays the current strip until that part is done.
    fn take(&self) -> Option<usize> {
        let next = |parts: u64| ((parts & 0xffff) < (parts >> 16 & 0xffff)).then_some(parts + 1);
        self.parts.fetch_update(Acquire, Relaxed, next).ok().map(|parts| (parts & 0xffff) as usize)
    }

    /// Multiplies a part that this thread has taken.
    fn multiply_part(&self, index: usize) {
        // A panic would leave the other threads with a strip that is gone, or waiting for a part that is never done.
        let unwinding = AbortOnDrop;
        // SAFETY: a thread that has taken a part sees the strip from before, and the strip and all that it borrows stay until
        // that part is done, too. Nobody else takes it.
        unsafe {
            let strip = &*self.strip.load(Relaxed);
            strip.multiply(self.kernel, strip.of_part(index));
        }
        mem::forget(unwinding);
        self.done.fetch_add(1, Release);
    }

    /// The program of a worker.
    fn work(&self, index: usize) {
        let mut idle = 0;
        loop {
            if let Some(part) = self.take() {
                self.multiply_part(part);
                idle = 0;
                continue;
            }
            idle += 1;
            if idle < PATIENCE {
                spin_loop();
                continue;
            }
            // Until the worker has its place in the list, nobody could wake it.
            if let Some((_, sleeps)) = self.workers.get().and_then(|workers| workers.get(index)) {
                sleeps.store(true, SeqCst);
                // A strip that came before this was seen is taken at once; whoever comes later wakes the worker.
                let parts = self.parts.load(SeqCst);
                if (parts & 0xffff) >= (parts >> 16 & 0xffff) {
                    thread::park();
                }
                sleeps.store(false, SeqCst);
            } else {
                thread::yield_now();
            }
            idle = 0;
        }
    }
}

/// Which strips are shared, by the times of one thread and of all. In a trial strips are multiplied in either way by turns, so
/// that both meet the same other work of the computer. The strips after it are multiplied in the way that was faster.
#[derive(Clone, Copy, Debug, Default)]
struct Trial {
    /// Nanoseconds and weights of this trial's strips, of one thread and of all threads.
    times: [(u64, u64); 2],
    /// Strips of this trial.
    timed: u32,
    /// Strips until the next trial, and whether they are shared.
    rest: u32,
    shared: bool,
    /// Strips after the last trial.
    round: u32,
}

/// Strips of a trial, and of one that all threads lose by far. The first few wake the workers.
const TIMED: u32 = 32;
const HOPELESS: u32 = 8;
/// Strips after a trial. Each trial that all threads lose doubles them, up to the second number.
const ROUND: (u32, u32) = (1 << 8, 1 << 14);

impl Trial {
    /// Whether the next strip is shared, and whether it is timed.
    fn next(&mut self) -> (bool, bool) {
        match self.rest.checked_sub(1) {
            Some(rest) => {
                self.rest = rest;
                (self.shared, false)
            }
            None => (!self.timed.is_multiple_of(2), true),
        }
    }

    /// Takes the time of a strip.
    fn record(&mut self, shared: bool, time: Duration, weights: usize) {
        let (nanoseconds, all) = &mut self.times[usize::from(shared)];
        *nanoseconds += time.as_nanos() as u64;
        *all += weights as u64;
        self.timed += 1;
        let [one, all] = self.times;
        // Times of a weight, times a common denominator.
        let (one, all) = (u128::from(one.0) * u128::from(all.1), u128::from(all.0) * u128::from(one.1));
        let is_hopeless = self.timed == HOPELESS && all > 4 * one;
        if self.timed == TIMED || is_hopeless {
            // A tenth less time is the least that is worth the other cores' work.
            let shared = 10 * all < 9 * one;
            let round = if shared { ROUND.0 } else { (2 * self.round).clamp(ROUND.0, ROUND.1) };
            *self = Self { rest: round, shared, round, ..Self::default() };
        }
    }
}

/// Ends the program when dropped, that is, while a panic unwinds.
struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rillm::format::Quantisation;

    #[test]
    fn threads_give_the_sums_of_one() {
        let pool = start(3).expect("threads").expect("more than one");
        for (rows, cols) in [(0, 64), (1, 40), (7, 20_000), (128, 64), (128, 200), (64, 576), (128, 1536), (13, 9000)] {
            for quantisation in [Quantisation::Int8 { group: 32 }, Quantisation::Int4 { group: 32 }] {
                let len = rows * quantisation.row_len(cols as u32);
                let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + at / 13) as u8).collect();
                let x: Vec<i16> = (0..20 * cols).map(|at| (at as i16).wrapping_mul(7919).max(-i16::MAX)).collect();
                let matrix = Rows::new(&bytes, quantisation, cols).expect("whole rows");
                let (scale, mut sums, mut outputs) =
                    (OutputScale { largest: 3, excess: 17 }, vec![0; rows * 20], vec![0; rows]);
                let dot = |rows: &Rows<'_>, x: &[i16], sums: &mut [i64]| rows.dot_generic(x, sums);
                dot.dot_batch(&matrix, Vectors::new(&x, cols, 20), &mut sums);
                dot.outputs(&matrix, &x[..cols], scale, &mut outputs);
                let mut found = (vec![5; rows * 20], vec![5; rows]);
                for _ in 0..30 {
                    pool.dot_batch(&matrix, Vectors::new(&x, cols, 20), &mut found.0);
                    pool.outputs(&matrix, &x[..cols], scale, &mut found.1);
                    assert!(found.0 == sums && found.1 == outputs, "{rows}x{cols}");
                    found.0.fill(5);
                    found.1.fill(5);
                }
                // The trial decides when strips are shared; here they all are, in parts of any size.
                let _turn = pool.trials.lock().expect("no panic");
                for part in (1..20).chain([rows.max(20)]) {
                    let work = Work::One { rows: matrix, x: &x[..cols], scale, outputs: &mut *found.1 };
                    pool.share(&Strip { work, part });
                    let x = Vectors::new(&x, cols, 20);
                    pool.share(&Strip { work: Work::Batch { rows: matrix, x, sums: &mut *found.0 }, part });
                    assert!(found.0 == sums && found.1 == outputs, "{rows}x{cols} by {part}");
                    found.0.fill(5);
                    found.1.fill(5);
                }
            }
        }
        assert!(start(1).expect("one thread").is_none());
    }

    #[test]
    fn the_faster_way_is_taken_until_the_next_trial() {
        let mut trial = Trial::default();
        let mut run = |nanoseconds: [u64; 2]| {
            let (mut timed, mut untimed) = (0, [0; 2]);
            loop {
                match trial.next() {
                    (shared, true) if untimed == [0; 2] => {
                        timed += 1;
                        trial.record(shared, Duration::from_nanos(nanoseconds[usize::from(shared)]), 500);
                    }
                    (shared, false) => untimed[usize::from(shared)] += 1,
                    (shared, true) => {
                        trial.record(shared, Duration::from_nanos(nanoseconds[usize::from(shared)]), 500);
                        return (timed, untimed);
                    }
                }
            }
        };
        let (first, last) = ROUND;
        assert_eq!(run([1000, 890]), (TIMED, [0, first]));
        // The first strip of a trial ended the run before it.
        assert_eq!(run([1000, 910]), (TIMED - 1, [2 * first, 0]));
        assert_eq!(run([1000, 9000]), (HOPELESS - 1, [4 * first, 0]));
        for _ in 0..10 {
            run([1000, 9000]);
        }
        assert_eq!(run([1000, 9000]), (HOPELESS - 1, [last, 0]));
        assert_eq!(run([1000, 500]), (TIMED - 1, [0, first]));
    }
}
