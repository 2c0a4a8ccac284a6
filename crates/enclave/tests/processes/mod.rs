//! Who runs below whom.

use std::fs;

/// The processes below one.
pub(crate) fn descendants(process: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
        if parent.is_some_and(|parent| parent.parse() == Ok(process)) {
            found.push(id);
            found.extend(descendants(id));
        }
    }
    found
}
