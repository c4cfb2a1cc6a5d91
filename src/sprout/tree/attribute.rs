// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended attributes of what is open.

use std::os::fd::BorrowedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The longest list of names, and the longest value, of extended attributes (limits.h `XATTR_LIST_MAX`,
/// `XATTR_SIZE_MAX`).
pub(super) const XATTR: usize = 1 << 16;

/// The extended attribute of an open file or directory; `None` if it has none of that name.
pub fn attribute(of: BorrowedFd<'_>, name: &str) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; XATTR];
    match rustix::fs::fgetxattr(of, name, &mut value[..]) {
        Ok(len) => {
            value.truncate(len);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets an extended attribute of an open file or directory.
pub fn set_attribute(of: BorrowedFd<'_>, name: &str, value: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(of, name, value, XattrFlags::empty())
}
