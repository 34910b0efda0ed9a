//! Opening a CUDA device, with an error where candle would panic.

use candle_core::{Device, Result};

/// Opens the CUDA device with this number. The error names what is missing: support in this build, a library, or
/// the device.
#[cfg(not(feature = "cuda"))]
pub fn cuda(ordinal: usize) -> Result<Device> {
    candle_core::bail!(
        "no CUDA device {ordinal}: this program was built without CUDA; build it with `--features cuda`, or use `cpu`"
    )
}

/// Opens the CUDA device with this number. The error names what is missing: support in this build, a library, or
/// the device.
#[cfg(feature = "cuda")]
pub fn cuda(ordinal: usize) -> Result<Device> {
    // With dynamic loading, cudarc panics at run time if a library is missing. If the libraries are linked instead,
    // the program does not start without them.
    #[cfg(feature = "dynamic-loading")]
    {
        use candle_core::cuda_backend::cudarc::{cublas, curand, driver};
        // SAFETY: these only try to open a shared library, whose initialisers are NVIDIA's own.
        let present = unsafe {
            [
                (driver::sys::is_culib_present(), "libcuda (the NVIDIA driver)"),
                (cublas::sys::is_culib_present(), "libcublas"),
                (curand::sys::is_culib_present(), "libcurand"),
            ]
        };
        let missing: Vec<&str> = present.iter().filter(|(there, _)| !there).map(|(_, name)| *name).collect();
        if !missing.is_empty() {
            candle_core::bail!(
                "no CUDA device {ordinal}: cannot load {}; is the driver installed, and LD_LIBRARY_PATH set?",
                missing.join(", ")
            )
        }
    }
    Device::new_cuda(ordinal)
        .map_err(|error| candle_core::Error::Msg(format!("cannot open CUDA device {ordinal}: {error}")))
}
