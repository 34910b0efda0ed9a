//! candle's own threads beside rayon's.

/// Lets candle's threads sleep between operations. By default they spin after each one, at the cost of the
/// kernels that run next: a fifth of an epoch of adversarial training on two cores. To be called first thing
/// in `main`; where other threads run already, where that cannot be told, and where the user has chosen,
/// nothing happens.
pub fn let_candle_rest() {
    const LIMIT: &str = "CANDLE_BARRIER_POOL_SPIN_LIMIT";
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if alone && std::env::var_os(LIMIT).is_none() {
        // SAFETY: no other thread is there to read the environment meanwhile, as just asked.
        unsafe { std::env::set_var(LIMIT, "1") };
    }
}
