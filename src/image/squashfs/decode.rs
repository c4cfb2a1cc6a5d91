// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compressions of SquashFS blocks: one call, one block, never more output than a block may hold.

use std::io::{self, Read};

use crate::image::root::{TreeError, Unsupported};
use crate::superblock::squashfs_compression;

/// What blocks are compressed with. Linux, `fs/squashfs/squashfs_fs.h`, `ZLIB_COMPRESSION` …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// zlib streams (RFC 1950), which the tools call gzip.
    Gzip,
    /// xz streams.
    Xz,
    /// lz4 blocks.
    Lz4,
    /// zstd frames.
    Zstd,
}

/// The memory that an xz block may ask for, in KiB: mksquashfs uses dictionaries of up to one block (1 MiB).
const XZ_LIMIT: u32 = 16 << 10;
/// The window that a zstd frame may ask for; a block has at most 1 MiB.
const ZSTD_WINDOW: u64 = 8 << 20;

impl Compression {
    /// The compression with this number.
    pub(super) fn of(number: u16) -> Result<Compression, TreeError> {
        Ok(match number {
            1 => Compression::Gzip,
            4 => Compression::Xz,
            5 => Compression::Lz4,
            6 => Compression::Zstd,
            other => {
                let name = squashfs_compression(other).map(str::to_owned);
                return Err(Unsupported::Compression {
                    what: "a squashfs",
                    with: name.unwrap_or_else(|| format!("method {other}")),
                }
                .into());
            }
        })
    }

    /// The name that `mksquashfs -comp` takes.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// Decodes one block of at most `max` bytes.
    pub(super) fn decode(self, input: &[u8], max: usize) -> io::Result<Vec<u8>> {
        match self {
            Compression::Gzip => all(flate2::read::ZlibDecoder::new(input), max),
            Compression::Xz => {
                let reader = lzma_rust2::XzReader::new_mem_limit(input, false, XZ_LIMIT);
                all(reader, max)
            }
            Compression::Zstd => {
                use ruzstd::decoding::StreamingDecoder;
                let reader = StreamingDecoder::new_with_max_window_size(input, ZSTD_WINDOW);
                all(reader.map_err(io::Error::other)?, max)
            }
            Compression::Lz4 => {
                let mut out = vec![0; max];
                let len = lz4_flex::block::decompress_into(input, &mut out);
                out.truncate(len.map_err(io::Error::other)?);
                Ok(out)
            }
        }
    }
}

/// Everything that a decoder gives, if it is not more than `max` bytes.
fn all(decoder: impl Read, max: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    decoder.take(max as u64 + 1).read_to_end(&mut out)?;
    if out.len() > max {
        let why = format!("it unpacks to more than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(out)
}
