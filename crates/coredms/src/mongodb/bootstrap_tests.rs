//! When a set is initiated, and what is waited for.

use super::{Next, Standing, next};
use crate::admin::AdminError;

fn members() -> Vec<String> {
    ["a:1", "b:1", "c:1"].map(str::to_owned).into()
}

#[track_caller]
fn waits(standings: [Standing; 3], word: &str) {
    match next(&members(), &standings) {
        Err(AdminError::Unavailable(reason)) => assert!(reason.contains(word), "{reason}"),
        other => panic!("{other:?}"),
    }
}

fn away() -> Standing {
    Standing::Away("refused".to_owned())
}

#[test]
fn only_a_set_whose_members_are_all_new_is_initiated() {
    use Standing::{Initiated, New, Primary};
    assert_eq!(next(&members(), &[New, New, New]), Ok(Next::Initiate));
    waits([New, away(), New], "b:1");
    waits([New, Initiated, New], "election");
    waits([Initiated, away(), away()], "election");
    assert_eq!(next(&members(), &[New, away(), Primary]), Ok(Next::Lead(2)));
    assert!(next(&[], &[]).is_err());
}
