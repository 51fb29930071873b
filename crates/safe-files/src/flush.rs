//! Sends a file's bytes to the disk while it is still being written.
//!
//! A package is only renamed into place when its bytes are on the disk. Waiting for all of them at the end would add
//! the disk's time to that of the conversion; so a thread of its own flushes as the file grows, and the last flush
//! finds little left to do.

use std::{
    fs::File,
    io,
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

/// A flush begins when this many bytes were written since the last one began.
const FLUSH_BYTES: u64 = 32 << 20;

/// Flushes one growing file.
#[derive(Debug)]
pub struct Flusher {
    begin: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
    waiting_bytes: u64,
}

impl Flusher {
    /// Begins to watch over a file.
    ///
    /// # Errors
    /// When the system has no handle or no thread left.
    pub fn new(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        // One request may wait while a flush runs; it covers everything written until it begins.
        let (begin, requests) = sync_channel::<()>(1);
        let thread = thread::Builder::new()
            .name("flush".to_owned())
            .spawn(move || requests.iter().try_for_each(|()| file.sync_data()))?;
        Ok(Self { begin, thread, waiting_bytes: 0 })
    }

    /// Says that `n_bytes` more were written.
    pub fn wrote(&mut self, n_bytes: u64) {
        self.waiting_bytes += n_bytes;
        if self.waiting_bytes >= FLUSH_BYTES && self.begin.try_send(()).is_ok() {
            self.waiting_bytes = 0;
        }
    }

    /// Waits for the flushes that have begun.
    ///
    /// A failed one is reported here: the system tells of it once, so nobody else would.
    ///
    /// # Errors
    /// What the disk said.
    pub fn finish(self) -> io::Result<()> {
        drop(self.begin);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the flushing thread panicked")))
    }
}

/// Asks the file system to set aside the space of a file that is about to be written from its beginning.
///
/// Blocks that are there need not be found while the file is flushed, and a disk that is too small says so before any work.
/// Where the file system, or the operating system, cannot, nothing happens.
///
/// # Errors
/// When there is no such space.
pub fn reserve(file: &File, n_bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::{fs::FallocateFlags, io::Errno};
        let reserved = rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, n_bytes);
        if let Err(error @ (Errno::NOSPC | Errno::DQUOT)) = reserved {
            return Err(error.into());
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, n_bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn reserved_space_is_no_part_of_the_file() {
        let file = tempfile::tempfile().unwrap();
        reserve(&file, 1 << 20).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_growing_file_is_flushed_and_whole() {
        let mut file = tempfile::tempfile().unwrap();
        let mut flusher = Flusher::new(&file).unwrap();
        for _ in 0..4 {
            file.write_all(&vec![7; 1 << 20]).unwrap();
            flusher.wrote(FLUSH_BYTES);
        }
        flusher.finish().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 4 << 20);
    }
}
