//! A 64-bit word that the kernel writes and userspace reads.
//!
//! Records in the maps are built of such words because a map value is copied while another CPU writes it. In memory that
//! is mapped, and between programs, an aligned word is one load or store. The system calls that read and write a map
//! copy its value as bytes (`copy_map_value`, a `memcpy`), in practice by words, but the kernel promises nothing: a
//! record read so is one of words of different moments, and a word of it may be torn.

#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::{AtomicU64, Ordering};

/// One word, shared without a lock. All-zero bytes are a valid word of value 0.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Word(
    #[cfg(target_arch = "bpf")] core::cell::UnsafeCell<u64>,
    #[cfg(not(target_arch = "bpf"))] AtomicU64,
);

// SAFETY: every access is one aligned load or store of eight bytes, which BPF never tears; no reference to the inside
// is handed out.
#[cfg(target_arch = "bpf")]
unsafe impl Sync for Word {}

#[cfg(target_arch = "bpf")]
impl Word {
    /// The word's value now.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> u64 {
        // SAFETY: the pointer is this word's own: aligned, valid, eight bytes. BPF reads it with one load.
        unsafe { core::ptr::read_volatile(self.0.get()) }
    }

    /// Replaces the word. Two writers: the last one wins, whole.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        // SAFETY: as in `get`; BPF writes it with one store, and no reference to the inside is ever handed out.
        unsafe { core::ptr::write_volatile(self.0.get(), value) }
    }
}

#[cfg(not(target_arch = "bpf"))]
impl Word {
    /// The word's value now.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the word. Two writers: the last one wins, whole.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl Word {
    /// A word of this value.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: u64) -> Self {
        #[cfg(target_arch = "bpf")]
        return Self(core::cell::UnsafeCell::new(value));
        #[cfg(not(target_arch = "bpf"))]
        return Self(AtomicU64::new(value));
    }
}

impl Clone for Word {
    fn clone(&self) -> Self {
        Self::new(self.get())
    }
}

const _: () = assert!(size_of::<Word>() == 8 && align_of::<Word>() == 8);
