//! Numbers that kernels read: on 64-byte lines, in memory of our own or in a file that is mapped.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

/// Bytes of a cache line; every buffer begins on one.
pub const LINE: usize = 64;

#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(crate) struct Line([u8; LINE]);

/// The numbers that a buffer may hold: any bit pattern is a value.
pub trait Plain: Copy + Send + Sync + private::Sealed + 'static {}

mod private {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for f32 {}
}

impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for f32 {}

/// Memory that buffers are parts of.
pub struct Image(Source);

enum Source {
    Owned(Vec<Line>),
    Mapped(Mmap),
}

impl Image {
    /// Maps a whole file, read-only; pages are read when they are first looked at.
    ///
    /// The file must be one that nobody changes in place while it is mapped: Sori writes such files once, under another name.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn map(file: &File) -> io::Result<Arc<Self>> {
        // SAFETY: a mapping is sound while its file keeps its length and contents, which the documentation asks for.
        let map = unsafe { Mmap::map(file)? };
        Ok(Arc::new(Self(Source::Mapped(map))))
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Source::Owned(lines) => bytes_of(lines),
            Source::Mapped(map) => map,
        }
    }
}

/// A shared, read-only run of numbers that begins on a line.
pub struct Buffer<T> {
    image: Arc<Image>,
    bytes: Range<usize>,
    kind: PhantomData<T>,
}

impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self {
            image: Arc::clone(&self.image),
            bytes: self.bytes.clone(),
            kind: PhantomData,
        }
    }
}

impl<T: Plain> Buffer<T> {
    /// A buffer of `len` numbers, which `fill` gets as zeros.
    pub fn build(len: usize, fill: impl FnOnce(&mut [T])) -> Self {
        let mut lines = lines::<T>(len);
        fill(&mut numbers_mut(&mut lines)[..len]);
        Self {
            image: Arc::new(Image(Source::Owned(lines))),
            bytes: 0..len * size_of::<T>(),
            kind: PhantomData,
        }
    }

    /// A part of an image; none when it does not lie inside, does not begin on a line, or ends within a number.
    pub fn part(image: &Arc<Image>, bytes: Range<usize>) -> Option<Self> {
        let whole = bytes.start.is_multiple_of(LINE) && bytes.len().is_multiple_of(size_of::<T>());
        let inside = bytes.start <= bytes.end && bytes.end <= image.bytes().len();
        (whole && inside).then(|| Self {
            image: Arc::clone(image),
            bytes,
            kind: PhantomData,
        })
    }

    /// The buffer's bytes, as they are written to a file.
    pub fn bytes(&self) -> &[u8] {
        &self.image.bytes()[self.bytes.clone()]
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let bytes = self.bytes();
        // SAFETY: images begin on a page or a line and parts on a line, so that the numbers are aligned; any bits are a `T`.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) }
    }
}

/// Zeroed lines for `len` numbers.
pub(crate) fn lines<T>(len: usize) -> Vec<Line> {
    vec![Line([0; LINE]); (len * size_of::<T>()).div_ceil(LINE)]
}

pub(crate) fn bytes_of(lines: &[Line]) -> &[u8] {
    // SAFETY: a line is 64 bytes without padding.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE) }
}

pub(crate) fn numbers<T: Plain>(lines: &[Line]) -> &[T] {
    let len = lines.len() * LINE / size_of::<T>();
    // SAFETY: as for `numbers_mut`.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), len) }
}

pub(crate) fn numbers_mut<T: Plain>(lines: &mut [Line]) -> &mut [T] {
    let len = lines.len() * LINE / size_of::<T>();
    // SAFETY: a line is aligned for every plain number, holds a whole number of them, and any bits are one.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), len) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn parts_are_checked_and_read_what_was_written() {
        let floats = Buffer::<f32>::build(20, |all| all[19] = 2.5);
        assert_eq!((floats.len(), floats[0], floats[19]), (20, 0.0, 2.5));
        let path = std::env::temp_dir().join(format!("sori-buffer-{}", std::process::id()));
        let mut file = File::create_new(&path).expect("the temporary folder is writable");
        file.write_all(&[0; 64]).expect("the file is written");
        file.write_all(floats.bytes()).expect("the file is written");
        let image = Image::map(&File::open(&path).expect("the file is there")).expect("it maps");
        std::fs::remove_file(&path).expect("the file is there");
        let part = Buffer::<f32>::part(&image, 64..144).expect("it is inside");
        assert_eq!(&part[..], &floats[..]);
        for bytes in [64..148, 32..64, 64..143, 192..192] {
            assert!(
                Buffer::<f32>::part(&image, bytes.clone()).is_none(),
                "{bytes:?}"
            );
        }
    }
}
