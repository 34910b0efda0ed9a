//! candle's own threads, which run beside rayon's.

/// Lets candle's threads sleep between operations. By default they spin after each operation, which slows down the
/// kernels that run next: it costs a fifth of an epoch of adversarial training on two cores. Call this first in
/// `main`. It does nothing if other threads already run, if their number cannot be read, or if the user has set the
/// limit.
pub fn let_candle_rest() {
    const LIMIT: &str = "CANDLE_BARRIER_POOL_SPIN_LIMIT";
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if alone && std::env::var_os(LIMIT).is_none() {
        // SAFETY: no other thread is there to read the environment meanwhile, as just asked.
        unsafe { std::env::set_var(LIMIT, "1") };
    }
}
