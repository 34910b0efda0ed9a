//! What the targets share: the bounds that a reader must keep, and a folder for those that read files by their paths.

pub mod data;
#[allow(dead_code)]
mod kept;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

pub use kept::files;

/// Bytes that a reader may hold.
const MEMORY: usize = 256 << 20;
/// Time of the processor that a reader may take. Instrumentation and checks of overflow are part of it.
const TIME: Duration = Duration::from_secs(1);

/// Bytes that are allocated.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// The most of them that may be.
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The system's allocator. It ends the process where a reader holds more than it may.
#[derive(Debug)]
pub struct Counted;

impl Counted {
    fn add(bytes: usize) {
        let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
        // Once, or the message would need memory again.
        if live > MOST.load(Relaxed) {
            MOST.store(usize::MAX, Relaxed);
            panic!("a reader holds more than {} MiB: {bytes} bytes more make {live} in all", MEMORY >> 20);
        }
    }
}

// SAFETY: every call is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there while their content moves.
        Self::add(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Declares [`Counted`] as a target's allocator.
#[macro_export]
macro_rules! counted {
    () => {
        #[global_allocator]
        static ALLOCATOR: $crate::Counted = $crate::Counted;
    };
}

/// What a reader gives, which must not take more time or memory than it may.
pub fn bounded<T>(read: impl FnOnce() -> T) -> T {
    MOST.store(LIVE.load(Relaxed) + MEMORY, Relaxed);
    let begun = processor();
    let result = read();
    let took = processor() - begun;
    MOST.store(usize::MAX, Relaxed);
    assert!(took < TIME, "a reader took {took:?}");
    result
}

/// Time of the processor that all threads of this process have had: other work on the machine does not count.
fn processor() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists, and `time` is a place for its time.
    let told = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(told, 0, "no clock of the processor's time");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The folder of this process: within `TMPDIR` if that is set, otherwise in memory where the system has such.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let shared = Path::new("/dev/shm");
        let parent = if std::env::var_os("TMPDIR").is_none() && shared.is_dir() {
            shared.into()
        } else {
            std::env::temp_dir()
        };
        let folder = parent.join(format!("temper-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        folder
    })
}

/// Writes a file of this name into the folder.
pub fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}
