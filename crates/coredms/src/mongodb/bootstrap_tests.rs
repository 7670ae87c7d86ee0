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
    use Standing::{Initiated, New, Primary, Removed};
    assert_eq!(next(&members(), &[New, New, New]), Ok(Next::Initiate));
    waits([New, away(), New], "b:1");
    waits([New, Initiated, New], "election");
    waits([Initiated, away(), away()], "election");
    assert_eq!(next(&members(), &[New, away(), Primary]), Ok(Next::Lead(2)));
    waits([New, Removed, New], "election");
    assert!(next(&[], &[]).is_err());
}

#[test]
fn members_start_again_only_when_none_of_them_finds_itself() {
    use Standing::{Initiated, Primary, Removed};
    let all = [Removed, Removed, Removed];
    assert_eq!(next(&members(), &all), Ok(Next::Restart));
    waits([Removed, Removed, away()], "election");
    waits([Removed, Initiated, Removed], "election");
    assert_eq!(
        next(&members(), &[Removed, Primary, Removed]),
        Ok(Next::Lead(1))
    );
}
