//! A page to its decisions and rejects: unpack, decode, decide. Pure; the clock was read once by whoever calls.
//!
//! Nothing is dropped: every user record of the page after the starting position ends in the list of decisions or in the
//! list of rejects, in order.

use crate::{
    model::{
        decision::{Answer, Decision, Reason, Source, Verdict},
        position::{Position, Record, ShardId},
        swipe::Swipe,
    },
    pipeline::{
        aggregate,
        checksum::md5_each,
        decide::{Policy, Ruling},
        decode::{Reject, decode},
        recent::{Known, Recent},
    },
};

/// One user record of a page.
#[derive(Debug)]
pub struct UserRecord<'a> {
    /// The Kinesis record it came in.
    pub record: &'a Record,
    /// Its index inside the aggregate, 0 when it is none.
    pub sub: u64,
    /// Its payload, or why the record cannot be opened.
    pub data: Result<&'a [u8], Reject>,
}

impl<'a> UserRecord<'a> {
    /// Where it stands.
    pub fn position(&self) -> Position {
        Position {
            sequence: self.record.sequence.clone(),
            sub: self.sub,
        }
    }

    fn source(&self, shard: &'a ShardId) -> Source<'a> {
        Source {
            shard: shard.as_str(),
            sequence: self.record.sequence.as_str(),
            sub: self.sub,
        }
    }

    fn swipe(&self) -> Result<Swipe<'a>, Reject> {
        match &self.data {
            Ok(data) => decode(data),
            Err(reject) => Err(reject.clone()),
        }
    }

    /// Of an aggregate that cannot be opened, all of it is kept.
    fn rejected(&self, reject: Reject, source: Source<'a>) -> Rejected<'a> {
        let data = match &self.data {
            Ok(data) => data,
            Err(_) => &self.record.data[..],
        };
        Rejected {
            reject,
            source,
            data,
        }
    }
}

/// A record that is no swipe.
#[derive(Debug)]
pub struct Rejected<'a> {
    /// Why.
    pub reject: Reject,
    /// Where it stands.
    pub source: Source<'a>,
    /// What it held.
    pub data: &'a [u8],
}

/// A page, judged.
#[derive(Debug, Default)]
pub struct Judged<'a> {
    /// One a swipe, in order.
    pub decisions: Vec<Decision<'a>>,
    /// The rest, in order.
    pub rejects: Vec<Rejected<'a>>,
}

/// The user records of `records` that come after `after`, in order. A checkpoint inside an aggregate goes on at the next user
/// record of it; a damaged aggregate is one user record, the first.
pub fn unpack<'a>(records: &'a [Record], after: Option<&Position>) -> Vec<UserRecord<'a>> {
    let mut unpacked = Vec::with_capacity(records.len());
    let mut opened = Vec::new();
    let sealed = records
        .iter()
        .filter_map(|record| aggregate::sealed(&record.data));
    let mut checksums = md5_each(&sealed.collect::<Vec<_>>()).into_iter();
    for record in records {
        let checksum = aggregate::sealed(&record.data).and_then(|_| checksums.next());
        let done = after.filter(|after| after.sequence >= record.sequence);
        if done.is_some_and(|after| after.sequence > record.sequence) {
            continue;
        }
        let skip = done.map_or(0, |after| after.sub.saturating_add(1));
        opened.clear();
        // An aggregate that is too short for a checksum is never asked for one.
        let checksum = |_: &[u8]| checksum.unwrap_or_default();
        match aggregate::open(&record.data, checksum, &mut opened) {
            Ok(()) => unpacked.extend((0..).zip(&opened).filter(|(sub, _)| *sub >= skip).map(
                |(sub, data)| UserRecord {
                    record,
                    sub,
                    data: Ok(data),
                },
            )),
            Err(reject) if skip == 0 => unpacked.push(UserRecord {
                record,
                sub: 0,
                data: Err(reject),
            }),
            Err(_) => {}
        }
    }
    unpacked
}

/// Swipes that are ruled on together: few enough to stay in the processor's nearest cache between the passes, enough for
/// the look-ups of one run to wait for memory together.
const RUN: usize = 64;

/// Who answers.
pub trait Rules {
    /// Appends one ruling on the swipe of each of `decisions`, in order, and says whether all of them can be settled: not
    /// while where one of the cards is has to be looked up first. `first` is the index of the first of them.
    fn rule(&mut self, first: usize, decisions: &[Decision<'_>], rulings: &mut Vec<Ruling>)
    -> bool;

    /// The verdict on a swipe that has no answer yet, the `index`th of all that are judged.
    fn settle(&mut self, index: usize, swipe: &Swipe<'_>, ruling: &Ruling) -> Verdict;

    /// A swipe has this answer already, which was given elsewhere.
    fn learnt(&mut self, index: usize, swipe: &Swipe<'_>, answer: &Answer, ruling: &Ruling);
}

/// Judges `users`, which are of `shard`, at `now_ms`, and appends to `judged`. Returns how many were judged: fewer than all
/// when `rules` cannot settle the next run yet.
pub fn judge<'a>(
    users: &[UserRecord<'a>],
    shard: &'a ShardId,
    recent: &mut Recent,
    now_ms: i64,
    policy: &Policy,
    rules: &mut impl Rules,
    judged: &mut Judged<'a>,
) -> usize {
    let mut rulings = Vec::with_capacity(RUN);
    for (index, run) in users.chunks(RUN).enumerate() {
        let (first, rejected) = (judged.decisions.len(), judged.rejects.len());
        for user in run {
            let source = user.source(shard);
            match user.swipe() {
                Ok(swipe) => judged.decisions.push(unsettled(swipe, source, now_ms)),
                Err(reject) => judged.rejects.push(user.rejected(reject, source)),
            }
        }
        let decisions = &mut judged.decisions[first..];
        if !rules.rule(first, decisions, &mut rulings) {
            judged.decisions.truncate(first);
            judged.rejects.truncate(rejected);
            return index * RUN;
        }
        let rulings = rulings.drain(..);
        for (index, (decision, ruling)) in (first..).zip(decisions.iter_mut().zip(rulings)) {
            let (answer, known) = recent.answer(&decision.swipe, || Answer {
                verdict: rules.settle(index, &decision.swipe, &ruling),
                decided_at_ms: now_ms,
            });
            let repeat = known != Known::New;
            if known == Known::Learnt {
                rules.learnt(index, &decision.swipe, &answer, &ruling);
            }
            let late = !policy.actuates(decision.swipe.swiped_at_ms, now_ms);
            decision.answer = answer;
            decision.repeat = repeat;
            decision.actuate = !repeat && !late;
            decision.direction = decision.swipe.direction.or(ruling.direction);
        }
    }
    users.len()
}

/// The swipes of `users`, none of them decided: to ask what is stored of them.
pub fn undecided<'a>(
    users: &[UserRecord<'a>],
    shard: &'a ShardId,
    now_ms: i64,
) -> Vec<Decision<'a>> {
    let swipes = users.iter().filter_map(|user| {
        let swipe = user.swipe().ok()?;
        Some(unsettled(swipe, user.source(shard), now_ms))
    });
    swipes.collect()
}

/// A decision in its place, where its ruling will find it: a denial until then. Swipes are large, and this way one is
/// moved once.
fn unsettled<'a>(swipe: Swipe<'a>, source: Source<'a>, now_ms: i64) -> Decision<'a> {
    Decision {
        swipe,
        answer: Answer {
            verdict: Verdict::of(Reason::AuthorizationUnavailable),
            decided_at_ms: now_ms,
        },
        direction: None,
        actuate: false,
        repeat: false,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{position::SequenceNumber, reject::RejectKind, swipe::Direction};
    use md5::{Digest, Md5};

    const NOW: i64 = 1_000_000;

    /// Actuates within two milliseconds.
    const BRIEF: Policy = Policy {
        max_card_staleness_ms: 0,
        max_clock_skew_ms: 0,
        max_swipe_age_ms: 0,
        actuate_within_ms: 2,
        require_known_devices: false,
    };

    fn swipe(seq: u64) -> Vec<u8> {
        format!(
            r#"{{"v":1,"device_id":"g","device_seq":{seq},"access_point":"a","card_id":"{seq}","swiped_at_ms":{}}}"#,
            NOW - i64::try_from(seq).expect("small")
        )
        .into_bytes()
    }

    fn aggregate(users: &[Vec<u8>]) -> Vec<u8> {
        let mut message = b"\x0a\x01k".to_vec();
        for user in users {
            assert!(user.len() < 120, "one length byte");
            let length = u8::try_from(user.len()).expect("small");
            message.extend_from_slice(&[0x1a, length + 4, 8, 0, 0x1a, length]);
            message.extend_from_slice(user);
        }
        [&aggregate::MAGIC[..], &message, &Md5::digest(&message)].concat()
    }

    fn record(sequence: u64, data: Vec<u8>) -> Record {
        Record {
            sequence: SequenceNumber::parse(&sequence.to_string()).expect("digits"),
            data: data.into(),
        }
    }

    fn page() -> Vec<Record> {
        let mut damaged = aggregate(&[swipe(7)]);
        damaged[6] ^= 1;
        vec![
            record(10, swipe(1)),
            record(11, aggregate(&[swipe(2), b"no swipe".to_vec(), swipe(3)])),
            record(12, damaged),
            record(13, Vec::new()),
            record(14, swipe(4)),
        ]
    }

    /// Answers with one reason after another.
    struct OneByOne<R>(R, Option<Direction>);

    impl<R: FnMut() -> Reason> Rules for OneByOne<R> {
        fn rule(
            &mut self,
            _: usize,
            decisions: &[Decision<'_>],
            rulings: &mut Vec<Ruling>,
        ) -> bool {
            rulings.extend(decisions.iter().map(|_| Ruling {
                verdict: Verdict::of((self.0)()),
                direction: self.1,
                memory: None,
            }));
            true
        }

        fn settle(&mut self, _: usize, _: &Swipe<'_>, ruling: &Ruling) -> Verdict {
            ruling.verdict
        }

        fn learnt(&mut self, _: usize, _: &Swipe<'_>, _: &Answer, _: &Ruling) {}
    }

    fn judge_all<'a>(
        users: &[UserRecord<'a>],
        shard: &'a ShardId,
        rules: &mut impl Rules,
    ) -> Judged<'a> {
        let (mut judged, mut recent) = (Judged::default(), Recent::default());
        let all = judge(users, shard, &mut recent, NOW, &BRIEF, rules, &mut judged);
        assert_eq!(all, users.len());
        judged
    }

    #[expect(clippy::type_complexity, reason = "rows of two small tables")]
    fn judged(after: Option<(u64, u64)>) -> (Vec<(u64, u64)>, Vec<(String, u64, RejectKind)>) {
        let (records, shard) = (page(), ShardId::new("shard"));
        let after = after.map(|(sequence, sub)| Position {
            sequence: SequenceNumber::parse(&sequence.to_string()).expect("digits"),
            sub,
        });
        let users = unpack(&records, after.as_ref());
        let judged = judge_all(&users, &shard, &mut OneByOne(|| Reason::Granted, None));
        (
            judged
                .decisions
                .iter()
                .map(|decision| (decision.swipe.device_seq, decision.source.sub))
                .collect(),
            judged
                .rejects
                .iter()
                .map(|reject| {
                    (
                        reject.source.sequence.to_owned(),
                        reject.source.sub,
                        reject.reject.kind,
                    )
                })
                .collect(),
        )
    }

    #[test]
    fn every_user_record_of_a_page_is_decided_or_rejected_at_its_place() {
        let (decisions, rejects) = judged(None);
        assert_eq!(decisions, [(1, 0), (2, 0), (3, 2), (4, 0)]);
        assert_eq!(
            rejects,
            [
                ("11".to_owned(), 1, RejectKind::Malformed),
                ("12".to_owned(), 0, RejectKind::BadAggregate),
                ("13".to_owned(), 0, RejectKind::Malformed),
            ]
        );
    }

    #[test]
    fn a_restart_inside_an_aggregate_goes_on_at_the_next_user_record() {
        assert_eq!(judged(Some((10, 0))).0, [(2, 0), (3, 2), (4, 0)]);
        assert_eq!(judged(Some((11, 0))).0, [(3, 2), (4, 0)]);
        assert_eq!(
            judged(Some((11, 0))).1[0],
            ("11".to_owned(), 1, RejectKind::Malformed)
        );
        assert_eq!(judged(Some((11, 1))).0, [(3, 2), (4, 0)]);
        assert_eq!(judged(Some((11, 2))).0, [(4, 0)]);
        assert_eq!(
            judged(Some((12, 0))).1.len(),
            1,
            "a damaged aggregate is rejected once"
        );
        assert_eq!(judged(Some((14, 0))), (vec![], vec![]));
    }

    #[test]
    fn late_swipes_and_repeats_are_for_audit_only() {
        let records = [
            record(1, swipe(2)),
            record(2, swipe(3)),
            record(3, swipe(2)),
        ];
        let (users, shard) = (unpack(&records, None), ShardId::new("shard"));
        let mut reasons = [Reason::Granted, Reason::Granted, Reason::CredentialRevoked].into_iter();
        let next = || reasons.next().expect("three swipes");
        let judged = judge_all(&users, &shard, &mut OneByOne(next, Some(Direction::In)));
        let seen: Vec<_> = judged
            .decisions
            .iter()
            .map(|decision| {
                (
                    decision.actuate,
                    decision.repeat,
                    decision.answer.verdict.reason,
                )
            })
            .collect();
        let granted = Reason::Granted;
        assert_eq!(
            seen,
            [
                (true, false, granted),
                (false, false, granted),
                (false, true, granted)
            ]
        );
        assert_eq!(judged.decisions[0].direction, Some(Direction::In));
    }
}
