// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compressions that the kernel unpacks an initrd with, as streams that stop where they end.
//!
//! Magic numbers: Linux, `lib/decompress.c`. A decoder may want at most [`MAX_WINDOW`] of memory for what it looks back
//! on, and all segments together may unpack to at most [`MAX_OUTPUT`]: no real initrd comes near, a bomb does.

use std::io::{self, BufRead, Read};

use lz4_flex::frame::FrameDecoder as Lz4;
use lzma_rust2::{LzmaReader, XzReader};
use ruzstd::decoding::StreamingDecoder as Zstd;
use serde::Serialize;

use crate::read::{ReadAt, ReadError};
use crate::superblock::field;
use crate::units::Bytes;

/// A decoder's window or dictionary.
const MAX_WINDOW: u64 = 64 << 20;
/// What all segments unpack to.
const MAX_OUTPUT: u64 = 2 << 30;
const BUFFER: usize = 128 << 10;
/// The kernel's lz4 blocks (`lib/decompress_unlz4.c`, `LZ4_DEFAULT_UNCOMPRESSED_CHUNK_SIZE`), and the most that one
/// can take compressed (lz4, `LZ4_COMPRESSBOUND`).
const LEGACY_BLOCK: usize = 8 << 20;
const LEGACY_PACKED: usize = LEGACY_BLOCK + LEGACY_BLOCK / 255 + 16;
const LEGACY_MAGIC: u32 = 0x184c_2102;

/// How a segment is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// zstd.
    Zstd,
    /// lz4, the frame format of today.
    Lz4,
    /// lz4, the old frame format, which the kernel's build and mkinitcpio use.
    Lz4Legacy,
    /// lzma alone.
    Lzma,
}

/// The file, read on from a place.
pub(super) struct Input<'a> {
    image: &'a dyn ReadAt,
    /// Where the buffer ends in the file.
    end: u64,
    buffer: Vec<u8>,
    from: usize,
    failure: Option<ReadError>,
    output: u64,
}

impl<'a> Input<'a> {
    pub(super) fn new(image: &'a dyn ReadAt) -> Input<'a> {
        Input {
            image,
            end: 0,
            buffer: Vec::new(),
            from: 0,
            failure: None,
            output: 0,
        }
    }

    /// The error of the file itself, if that is why something failed.
    pub(super) fn failure(self) -> Option<ReadError> {
        self.failure
    }

    /// Where the next byte is.
    pub(super) fn at(&self) -> u64 {
        self.end - (self.buffer.len() - self.from) as u64
    }

    fn seek(&mut self, at: u64) {
        let start = self.end - self.buffer.len() as u64;
        if let Some(inside) = at.checked_sub(start).filter(|_| at <= self.end) {
            self.from = usize::try_from(inside).unwrap_or(self.buffer.len());
        } else {
            self.buffer.clear();
            self.from = 0;
            self.end = at;
        }
    }

    /// Goes to the next byte that is not zero; `false` if there is none.
    pub(super) fn skip_zeros(&mut self) -> Result<bool, String> {
        loop {
            let bytes = self.fill_buf().map_err(|error| error.to_string())?;
            if bytes.is_empty() {
                return Ok(false);
            }
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            let found = zeros < bytes.len();
            self.consume(zeros);
            if found {
                return Ok(true);
            }
        }
    }

    /// The next bytes, at most sixteen, without going on.
    fn peek(&mut self) -> Result<Vec<u8>, String> {
        let at = self.at();
        let mut bytes = Vec::new();
        let read = self.by_ref().take(16).read_to_end(&mut bytes);
        read.map_err(|error| error.to_string())?;
        self.seek(at);
        Ok(bytes)
    }

    /// What begins here. Frames that zstd and lz4 tell a reader to skip are skipped.
    pub(super) fn packing(&mut self) -> Result<Option<Packing>, String> {
        loop {
            let head = self.peek()?;
            // RFC 8878, 3.1.2; lz4, "Skippable Frames".
            let skippable = field::le32(&head, 0).is_some_and(|magic| magic >> 4 == 0x0184_d2a5);
            let Some(len) = field::le32(&head, 4).filter(|_| skippable) else {
                return Ok(packing(&head));
            };
            let next = self.at().saturating_add(8 + u64::from(len));
            if next > self.image.len().0 {
                return Err(format!(
                    "the frame to skip at byte {} is cut off",
                    self.at()
                ));
            }
            self.seek(next);
            if next == self.image.len().0 {
                return Ok(None);
            }
        }
    }
}

fn packing(head: &[u8]) -> Option<Packing> {
    if head.starts_with(b"070701") || head.starts_with(b"070702") {
        return Some(Packing::None);
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        return Some(Packing::Gzip);
    }
    if head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        return Some(Packing::Xz);
    }
    // "lzma alone" has no magic number; the kernel takes these properties, which everyone writes, for one.
    if head.starts_with(&[0x5d, 0]) {
        return Some(Packing::Lzma);
    }
    match field::le32(head, 0)? {
        0xfd2f_b528 => Some(Packing::Zstd),
        0x184d_2204 => Some(Packing::Lz4),
        LEGACY_MAGIC => Some(Packing::Lz4Legacy),
        _ => None,
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let len = bytes.len().min(buf.len());
        if let (Some(into), Some(from)) = (buf.get_mut(..len), bytes.get(..len)) {
            into.copy_from_slice(from);
        }
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.from >= self.buffer.len() {
            let rest = self.image.len().0.saturating_sub(self.end);
            let len = usize::try_from(rest).unwrap_or(BUFFER).min(BUFFER);
            self.buffer.resize(len, 0);
            self.from = 0;
            if let Err(error) = self.image.read_exact_at(Bytes(self.end), &mut self.buffer) {
                self.buffer.clear();
                let words = error.to_string();
                self.failure = Some(error);
                return Err(io::Error::other(words));
            }
            self.end += len as u64;
        }
        Ok(self.buffer.get(self.from..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.from = (self.from + amount).min(self.buffer.len());
    }
}

/// One gzip member, xz stream, zstd or lz4 frame, or the file itself.
enum Decoder<'i, 'a> {
    Plain(&'i mut Input<'a>),
    Gzip(flate2::bufread::GzDecoder<&'i mut Input<'a>>),
    Xz(Box<XzReader<&'i mut Input<'a>>>),
    Zstd(Box<Zstd<&'i mut Input<'a>, ruzstd::decoding::FrameDecoder>>),
    Lz4(Box<Lz4<&'i mut Input<'a>>>),
    Legacy(Legacy<'i, 'a>),
    Lzma(Box<LzmaReader<&'i mut Input<'a>>>),
    /// While one is replaced by the next.
    Between,
}

/// A segment's bytes, decoded.
pub(super) struct Member<'i, 'a> {
    packing: Packing,
    start: u64,
    decoder: Decoder<'i, 'a>,
    output: u64,
}

impl<'i, 'a> Member<'i, 'a> {
    pub(super) fn new(
        input: &'i mut Input<'a>,
        packing: Packing,
    ) -> Result<Member<'i, 'a>, String> {
        let start = input.at();
        let output = input.output;
        let decoder = Decoder::new(input, packing).map_err(|why| explain(packing, start, &why))?;
        Ok(Member {
            packing,
            start,
            decoder,
            output,
        })
    }

    pub(super) fn is_plain(&self) -> bool {
        self.packing == Packing::None
    }

    /// The next bytes; none at the end of the member.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<usize, String> {
        let len = self
            .decoder
            .read(buf)
            .map_err(|why| explain(self.packing, self.start, &why.to_string()))?;
        if !self.is_plain() {
            self.output += len as u64;
            if self.output > MAX_OUTPUT {
                return Err(format!(
                    "it unpacks to more than {}",
                    Bytes(MAX_OUTPUT).binary()
                ));
            }
            self.decoder.input(|input| input.output = self.output);
        }
        Ok(len)
    }

    /// Leaves out bytes of a plain segment.
    pub(super) fn jump(&mut self, len: u64) -> Result<(), String> {
        let Decoder::Plain(input) = &mut self.decoder else {
            return Ok(());
        };
        let to = input.at().saturating_add(len);
        if to > input.image.len().0 {
            return Err("it ends in the middle of a cpio archive".to_owned());
        }
        input.seek(to);
        Ok(())
    }

    /// Goes on with the next member of the same compression: an archive may be cut into several.
    pub(super) fn go_on(&mut self) -> Result<bool, String> {
        let decoder = std::mem::replace(&mut self.decoder, Decoder::Between);
        let Some(input) = decoder.end() else {
            return Ok(false);
        };
        let next = input.packing();
        if self.is_plain() || next.as_ref() != Ok(&Some(self.packing)) {
            self.decoder = Decoder::Plain(input);
            return next.map(|_| false);
        }
        self.start = input.at();
        self.decoder = Decoder::new(input, self.packing)
            .map_err(|why| explain(self.packing, self.start, &why))?;
        Ok(true)
    }
}

fn explain(packing: Packing, start: u64, why: &str) -> String {
    format!("the {packing:?} segment at byte {start} cannot be unpacked: {why}")
}

impl Drop for Member<'_, '_> {
    /// What a decoder read ahead goes back to the file.
    fn drop(&mut self) {
        std::mem::replace(&mut self.decoder, Decoder::Between).end();
    }
}

impl<'i, 'a> Decoder<'i, 'a> {
    fn new(input: &'i mut Input<'a>, packing: Packing) -> Result<Decoder<'i, 'a>, String> {
        let kib = u32::try_from(MAX_WINDOW / 1024).unwrap_or(u32::MAX);
        Ok(match packing {
            Packing::None => Decoder::Plain(input),
            Packing::Gzip => Decoder::Gzip(flate2::bufread::GzDecoder::new(input)),
            // A little more than the dictionary, for the decoder's own tables.
            Packing::Xz => Decoder::Xz(Box::new(XzReader::new_mem_limit(input, false, kib + 1024))),
            Packing::Zstd => Decoder::Zstd(Box::new(
                Zstd::new_with_max_window_size(input, MAX_WINDOW)
                    .map_err(|error| error.to_string())?,
            )),
            Packing::Lz4 => Decoder::Lz4(Box::new(Lz4::new(input))),
            Packing::Lz4Legacy => {
                input.consume_exactly(4)?;
                Decoder::Legacy(Legacy {
                    input,
                    bytes: Vec::new(),
                    from: 0,
                })
            }
            Packing::Lzma => Decoder::Lzma(Box::new(
                LzmaReader::new_mem_limit(input, kib + 1024, None)
                    .map_err(|error| error.to_string())?,
            )),
        })
    }

    /// Does something to the file below.
    fn input(&mut self, act: impl FnOnce(&mut Input<'a>)) {
        match self {
            Decoder::Plain(input) => act(input),
            Decoder::Gzip(decoder) => act(decoder.get_mut()),
            Decoder::Xz(decoder) => act(decoder.inner_mut()),
            Decoder::Zstd(decoder) => act(decoder.get_mut()),
            Decoder::Lz4(decoder) => act(decoder.get_mut()),
            Decoder::Legacy(decoder) => act(decoder.input),
            Decoder::Lzma(decoder) => act(decoder.inner_mut()),
            Decoder::Between => {}
        }
    }

    /// Gives the file back, at the first byte that was not used.
    fn end(self) -> Option<&'i mut Input<'a>> {
        Some(match self {
            Decoder::Plain(input) => input,
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Xz(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => decoder.into_inner(),
            Decoder::Lz4(decoder) => decoder.into_inner(),
            Decoder::Legacy(decoder) => decoder.input,
            Decoder::Lzma(decoder) => {
                let (input, unused) = decoder.into_parts();
                input.seek(input.at().saturating_sub(unused.len() as u64));
                input
            }
            Decoder::Between => return None,
        })
    }
}

impl Read for Decoder<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Plain(input) => input.read(buf),
            Decoder::Gzip(decoder) => decoder.read(buf),
            Decoder::Xz(decoder) => decoder.read(buf),
            Decoder::Zstd(decoder) => {
                let len = decoder.read(buf)?;
                let frame = &decoder.decoder;
                // The crate computes the checksum but leaves the comparison to its user.
                let stored = frame.get_checksum_from_data();
                if len == 0 && stored.is_some() && stored != frame.get_calculated_checksum() {
                    let why = "the frame's checksum is another";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                Ok(len)
            }
            Decoder::Lz4(decoder) => decoder.read(buf),
            Decoder::Legacy(decoder) => decoder.read(buf),
            Decoder::Lzma(decoder) => decoder.read(buf),
            Decoder::Between => Ok(0),
        }
    }
}

impl Input<'_> {
    fn consume_exactly(&mut self, len: usize) -> Result<(), String> {
        let mut scrap = vec![0; len];
        self.read_exact(&mut scrap)
            .map_err(|error| error.to_string())
    }
}

/// lz4's old frames: a magic number, then blocks, each with its packed length before it; no end mark.
///
/// lz4, `doc/lz4_Frame_format.md`, "Legacy frame"; Linux, `lib/decompress_unlz4.c`. Not left to lz4_flex, which refuses a
/// block that grew by packing, as one of packed kernel modules does.
struct Legacy<'i, 'a> {
    input: &'i mut Input<'a>,
    bytes: Vec<u8>,
    from: usize,
}

impl Read for Legacy<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.from >= self.bytes.len() && !self.block()? {
            return Ok(0);
        }
        let rest = self.bytes.get(self.from..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        if let (Some(into), Some(from)) = (buf.get_mut(..len), rest.get(..len)) {
            into.copy_from_slice(from);
        }
        self.from += len;
        Ok(len)
    }
}

impl Legacy<'_, '_> {
    /// Decodes the next block; `false` if what follows is none.
    fn block(&mut self) -> io::Result<bool> {
        let head = self.input.peek().map_err(io::Error::other)?;
        let Some(len) = field::le32(&head, 0) else {
            return Ok(false);
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        // Zeros are padding, and any magic number is larger than a block can be.
        if len == 0 || len > LEGACY_PACKED {
            return Ok(false);
        }
        self.input.consume_exactly(4).map_err(io::Error::other)?;
        let rest = self.input.image.len().0.saturating_sub(self.input.at());
        if rest < len as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut packed = vec![0; len];
        self.input.read_exact(&mut packed)?;
        self.bytes.resize(LEGACY_BLOCK, 0);
        let len = lz4_flex::block::decompress_into(&packed, &mut self.bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        self.bytes.truncate(len);
        self.from = 0;
        Ok(len > 0)
    }
}
