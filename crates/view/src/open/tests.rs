//! What is not a whole mirror of ours is refused, with what to do about it.

use super::*;
use crate::{
    Contracts,
    testing::{Scratch, origin, who},
};

#[test]
fn a_second_handle_on_the_same_folder_is_refused() {
    let mut scratch = Scratch::at_ten();
    let second = View::open(scratch.path(), &origin());
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    scratch.close();
    assert!(View::open(scratch.path(), &origin()).is_ok());
}

#[test]
fn a_mirror_of_something_else_is_refused() {
    let mut scratch = Scratch::at_ten();
    scratch.close();
    let mut others = vec![
        Origin { chain_id: 1, ..origin() },
        Origin { first_block: 2, ..origin() },
        Origin { contracts: Contracts::Native([who(2), who(1), who(3)]), ..origin() },
        Origin { contracts: Contracts::Poco([who(1), who(2), who(3), who(4)]), ..origin() },
    ];
    for place in 0..3 {
        let mut contracts = [who(1), who(2), who(3)];
        contracts[place] = who(9);
        others.push(Origin { contracts: Contracts::Native(contracts), ..origin() });
    }
    for other in others {
        let refused = View::open(scratch.path(), &other);
        assert!(matches!(refused, Err(OpenError::OtherOrigin { .. })), "{other:?}: {refused:?}");
    }
    assert!(View::open(scratch.path(), &origin()).is_ok());
}

/// Opens a mirror in which the schema was replaced.
fn with_schema(stored: &[u8]) -> OpenError {
    let mut scratch = Scratch::at_ten();
    scratch.view().db.put_cf(scratch.view().family(META), META_SCHEMA, stored).unwrap();
    scratch.close();
    View::open(scratch.path(), &origin()).unwrap_err()
}

#[test]
fn an_older_schema_can_be_rebuilt_and_a_newer_one_is_refused() {
    let told = with_schema(&(SCHEMA_VERSION - 1).to_be_bytes());
    assert!(matches!(told, OpenError::OlderSchema { .. }), "{told:?}");
    let told = with_schema(&(SCHEMA_VERSION + 1).to_be_bytes());
    assert!(matches!(told, OpenError::NewerSchema { .. }), "{told:?}");
    let told = told.to_string();
    assert!(told.contains("use the newer program") && told.contains("delete"), "{told}");
    for garbage in [&[][..], &[1], &[0; 5]] {
        let told = with_schema(garbage);
        assert!(matches!(told, OpenError::Damaged { .. }), "{told:?}");
        assert!(told.to_string().contains("delete that folder"), "{told}");
    }
}

/// RocksDB does not open what has more tables than it is told of, and adds those that are missing.
#[test]
fn a_schema_with_other_tables_is_told_by_its_number() {
    for (number, table, gone) in [
        (SCHEMA_VERSION + 1, "uses", false),
        (SCHEMA_VERSION + 1, "undo", true),
        (SCHEMA_VERSION - 1, "undo", true),
    ] {
        let mut scratch = Scratch::at_ten();
        let view = scratch.view.take().unwrap();
        view.db.put_cf(view.family(META), META_SCHEMA, number.to_be_bytes()).unwrap();
        drop(view);
        let mut options = Options::default();
        options.set_max_background_jobs(2);
        let mut db = DB::open_cf(&options, scratch.path(), TABLES).unwrap();
        if gone { db.drop_cf(table) } else { db.create_cf(table, &options) }.unwrap();
        drop(db);
        for _ in 0..2 {
            let told = View::open(scratch.path(), &origin()).unwrap_err();
            let (OpenError::OlderSchema { found, .. } | OpenError::NewerSchema { found, .. }) =
                told
            else {
                panic!("{told:?}")
            };
            assert_eq!(found, number);
        }
    }
}

#[test]
fn a_mirror_without_an_origin_is_refused() {
    let mut scratch = Scratch::at_ten();
    scratch.view().db.delete_cf(scratch.view().family(META), META_ORIGIN).unwrap();
    scratch.close();
    let refused = View::open(scratch.path(), &origin());
    assert!(matches!(refused, Err(OpenError::OtherOrigin { .. })), "{refused:?}");
}
