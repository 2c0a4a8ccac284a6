//! The room on the disk that secrets leave to index and receipts.

use std::path::PathBuf;

use crate::problem::{ApiError, Code};

/// How much of a file system stays free.
#[derive(Debug)]
pub(crate) struct Reserve {
    /// A folder on it.
    pub(crate) folder: PathBuf,
    /// How many bytes.
    pub(crate) bytes: u64,
}

impl Reserve {
    /// Free bytes of the file system. Blocks for as long as that takes to answer.
    pub(crate) fn free(&self) -> Result<u64, rustix::io::Errno> {
        let disk = rustix::fs::statvfs(&self.folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// There is room for another secret. Blocks as [`Self::free`] does.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        if self.free().map_err(|error| ApiError::internal(&error))? >= self.bytes {
            return Ok(());
        }
        tracing::warn!("the disk is full but for the reserve: no secret is taken");
        let detail = "The service has no room for another secret. Its operator has to make some.";
        Err(ApiError::new(Code::StorageLow, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(folder: &str, bytes: u64) -> Result<(), String> {
        let reserve = Reserve { folder: folder.into(), bytes };
        reserve.check().map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn a_reserve_is_kept_free() {
        assert_eq!(room("/", 0), Ok(()));
        assert!(room("/", u64::MAX).unwrap_err().contains("StorageLow"));
    }

    /// What cannot be asked is not believed to have room.
    #[test]
    fn an_unknown_disk_has_no_room() {
        assert!(room("/nowhere/at/all", 0).unwrap_err().contains("Internal"));
    }
}
