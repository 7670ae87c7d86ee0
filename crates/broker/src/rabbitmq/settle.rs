//! [pure] Which frames acknowledge, or hand back, a set of deliveries.

use std::collections::BTreeSet;

/// A frame: one delivery, or all unsettled ones up to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Frame {
    pub(super) tag: u64,
    pub(super) multiple: bool,
}

/// Takes `tags` out of `held` and says which frames settle them. Tags that are not held are left
/// out: the broker closes a channel on a tag that it does not know.
pub(super) fn frames(held: &mut BTreeSet<u64>, tags: impl Iterator<Item = u64>) -> Vec<Frame> {
    let settled: BTreeSet<u64> = tags.filter(|tag| held.contains(tag)).collect();
    let prefix = held.iter().take_while(|tag| settled.contains(tag)).count();
    let mut frames = Vec::new();
    if let Some(last) = prefix.checked_sub(1).and_then(|n| settled.iter().nth(n)) {
        frames.push(Frame {
            tag: *last,
            multiple: prefix > 1,
        });
    }
    frames.extend(settled.iter().skip(prefix).map(|tag| Frame {
        tag: *tag,
        multiple: false,
    }));
    held.retain(|tag| !settled.contains(tag));
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(held: &[u64], tags: &[u64]) -> (Vec<(u64, bool)>, Vec<u64>) {
        let mut held = held.iter().copied().collect();
        let frames = frames(&mut held, tags.iter().copied());
        (
            frames.iter().map(|f| (f.tag, f.multiple)).collect(),
            held.into_iter().collect(),
        )
    }

    #[test]
    fn the_oldest_go_in_one_frame() {
        assert_eq!(
            settle(&[1, 2, 3, 4], &[3, 1, 2]),
            (vec![(3, true)], vec![4])
        );
        assert_eq!(settle(&[1, 2], &[1]), (vec![(1, false)], vec![2]));
    }

    #[test]
    fn a_gap_is_never_settled() {
        assert_eq!(
            settle(&[1, 2, 3, 4, 6], &[1, 2, 4, 6]),
            (vec![(2, true), (4, false), (6, false)], vec![3])
        );
        assert_eq!(settle(&[5, 6], &[6]), (vec![(6, false)], vec![5]));
    }

    #[test]
    fn what_is_not_held_is_left_out() {
        assert_eq!(settle(&[3], &[1, 2, 3, 3]), (vec![(3, false)], vec![]));
        assert_eq!(settle(&[3], &[9]), (vec![], vec![3]));
    }
}
