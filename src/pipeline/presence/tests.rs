//! A small estate and walks through it, door by door.

use super::*;
use crate::{
    access::{
        cache::{AccessCache, Snapshot, View},
        fixtures::{item, list, map, n, put, s},
        rulebook::Point,
    },
    model::{
        decision::{Reason, Source},
        item::{Item, Value},
        presence::Place,
    },
    pipeline::decide::{Policy, decide},
};

const START_MS: i64 = 1_772_438_321_000;

/// A building with a lab within it, an annex of the same group, and doors between: `in`/`out` of the building, `lab-in`/`lab-out`
/// between building and lab, `over`/`back` between building and annex.
fn estate(building: &[(&str, Value)], lab: &[(&str, Value)], card: &[(&str, Value)]) -> View {
    let with = |pk: &str, base: Vec<(&str, Value)>, said: &[(&str, Value)]| {
        let mut whole = item(pk, "CONFIG", []);
        let fields = base.into_iter().chain(said.iter().cloned());
        whole.extend(fields.map(|(name, value)| (name.to_owned(), value)));
        whole
    };
    let door = |id: &str, from: Option<&str>, to: Option<&str>| {
        let direction = if to.is_some() { "in" } else { "out" };
        let mut said = vec![("SiteId", s("hq")), ("Direction", s(direction))];
        said.extend(from.map(|from| ("AreaFrom", s(from))));
        said.extend(to.map(|to| ("AreaTo", s(to))));
        with(&format!("AP#{id}"), said, &[])
    };
    let free = ["in", "out", "lab-in", "lab-out", "over", "back", "free-out"].map(s);
    let mut held = item(
        "CARD#7",
        "CARD#STATUS",
        [
            ("CardStatus", s("issued")),
            ("IsAvailableForIssue", Value::Bool(false)),
            ("CardIssuedTo", s("p")),
            ("HolderStatus", s("active")),
            ("AccessProfiles", list([s("staff")])),
        ],
    );
    held.extend(
        card.iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    let free_out = with(
        "AP#free-out",
        vec![
            ("SiteId", s("hq")),
            ("Direction", s("out")),
            ("Egress", s("always_allow")),
            ("AreaFrom", s("building")),
        ],
        &[],
    );
    let items: Vec<Item> = vec![
        item("SITE#hq", "CONFIG", [("TimeZone", s("Europe/Amsterdam"))]),
        item(
            "PROFILE#staff",
            "CONFIG",
            [("Policies", list([map([("AccessPoints", list(free))])]))],
        ),
        with("AREA#building", vec![("AreaGroup", s("campus"))], building),
        with("AREA#annex", vec![("AreaGroup", s("campus"))], building),
        with("AREA#lab", vec![("Parent", s("building"))], lab),
        door("in", None, Some("building")),
        door("out", Some("building"), None),
        door("lab-in", Some("building"), Some("lab")),
        door("lab-out", Some("lab"), Some("building")),
        door("over", Some("building"), Some("annex")),
        door("back", Some("annex"), Some("building")),
        free_out,
        held,
    ];
    let cache = AccessCache::new();
    cache.replace(Snapshot::new());
    cache.apply(&items.into_iter().map(put).collect::<Vec<_>>());
    cache.mark_fresh(START_MS + 86_400_000);
    cache.view()
}

/// Who walks, and what is remembered of it.
struct Walk {
    view: View,
    presences: Presences,
    occupancy: Occupancy,
    /// What was swiped.
    swipes: Vec<Swipe<'static>>,
}

impl Walk {
    fn new(view: View) -> Self {
        Self {
            view,
            presences: Presences::default(),
            occupancy: Occupancy::default(),
            swipes: Vec::new(),
        }
    }

    /// One swipe, so many milliseconds after the start; reason and whether it is flagged.
    fn swipe(&mut self, door: &str, after_ms: i64) -> (Reason, bool, Option<Reason>) {
        let swipe = Swipe {
            device_id: "gate".into(),
            device_seq: self.swipes.len() as u64 + 1,
            access_point: door.to_owned().into(),
            card_id: "7".into(),
            swiped_at_ms: START_MS + after_ms,
            direction: None,
            offline: true,
            trace_id: None,
        };
        let ruling = decide(&swipe, &self.view, &Policy::default(), START_MS + after_ms);
        let book = self.view.rulebook();
        let verdict =
            self.presences
                .settle(self.swipes.len(), &swipe, &ruling, book, &self.occupancy);
        self.swipes.push(swipe);
        let Presences { tally, names, .. } = &mut self.presences;
        tally.tell(names, &self.occupancy);
        (verdict.reason, verdict.soft_apb, verdict.would_deny)
    }

    /// Group, place and decision of every move since the last call.
    fn moves(&mut self) -> Vec<(String, Presence, String)> {
        let decisions: Vec<_> = self
            .swipes
            .iter()
            .map(|swipe| Decision {
                swipe: swipe.clone(),
                answer: Answer {
                    verdict: Verdict::of(Granted),
                    decided_at_ms: 0,
                },
                direction: None,
                actuate: true,
                repeat: false,
                source: Source {
                    shard: "s",
                    sequence: "1",
                    sub: 0,
                },
            })
            .collect();
        let moves = self.presences.moves(&decisions);
        let mut moves: Vec<_> = moves
            .map(|moved| {
                let id = moved.decision_id();
                (moved.group.to_string(), moved.presence(), id)
            })
            .collect();
        moves.sort_by(|one, other| one.0.cmp(&other.0));
        self.presences.end_part(&self.occupancy);
        moves
    }

    #[track_caller]
    fn check(&mut self, steps: &[(&str, i64, Reason)]) {
        for (door, after_ms, reason) in steps {
            let told = self.swipe(door, *after_ms).0;
            assert_eq!(told, *reason, "{door} after {after_ms} ms");
        }
    }
}

fn mode(word: &str) -> [(&'static str, Value); 1] {
    [("PassbackMode", s(word))]
}

use Reason::{AntiPassbackViolation as Violation, Granted, OccupancyLimit as Full};

#[test]
fn who_is_in_has_to_leave_before_entering_again_and_the_other_way_round() {
    let mut walk = Walk::new(estate(&mode("hard"), &[], &[]));
    walk.check(&[
        ("in", 0, Granted),
        ("in", 1, Violation),
        ("out", 2, Granted),
        ("out", 3, Violation),
        ("in", 4, Granted),
        ("over", 5, Granted),
        ("over", 6, Violation),
        ("out", 7, Violation),
        ("back", 8, Granted),
        ("out", 9, Granted),
    ]);
}

#[test]
fn whoever_was_never_seen_may_come_and_go() {
    for door in ["in", "out", "over", "lab-in", "lab-out"] {
        let mut walk = Walk::new(estate(&mode("hard"), &mode("hard"), &[]));
        walk.check(&[(door, 0, Granted)]);
    }
}

#[test]
fn off_sees_nothing_soft_flags_and_an_exemption_counts() {
    let exempt = [("Exemptions", Value::TextSet(vec!["passback".to_owned()]))];
    for (mode_word, card, second) in [
        ("off", &[][..], (Granted, false, None)),
        ("soft", &[], (Granted, true, None)),
        ("hard", &[], (Violation, false, None)),
        ("hard", &exempt, (Granted, false, None)),
    ] {
        let mut walk = Walk::new(estate(&mode(mode_word), &[], card));
        walk.swipe("in", 0);
        assert_eq!(walk.swipe("in", 1), second, "{mode_word} {card:?}");
    }
}

#[test]
fn a_way_out_that_is_always_open_is_flagged_and_recorded() {
    let mut walk = Walk::new(estate(&mode("hard"), &[], &[]));
    let egress = Reason::GrantedEgress;
    walk.check(&[("in", 0, Granted)]);
    assert_eq!(walk.swipe("free-out", 1), (egress, false, None));
    assert_eq!(walk.swipe("free-out", 2), (egress, false, Some(Violation)));
    walk.check(&[("in", 3, Granted)]);
}

#[test]
fn what_is_remembered_counts_until_its_timeout_or_until_it_is_forgiven() {
    let timed = [("PassbackMode", s("hard")), ("PassbackTimeoutMin", n(1))];
    let mut walk = Walk::new(estate(&timed, &[], &[]));
    walk.check(&[
        ("in", 0, Granted),
        ("in", 59_999, Violation),
        ("in", 60_000, Granted),
        ("in", 60_001, Violation),
    ]);
    let forgiven = [("ForgivenAt", n(START_MS / 1000 + 10))];
    let mut walk = Walk::new(estate(&mode("hard"), &[], &forgiven));
    walk.check(&[
        ("in", 9_998, Granted),
        ("in", 9_999, Granted),
        ("in", 10_000, Granted),
        ("in", 10_001, Violation),
    ]);
}

#[test]
fn a_denial_moves_nobody_and_an_older_swipe_is_judged_by_nothing() {
    let mut walk = Walk::new(estate(&mode("hard"), &[], &[]));
    walk.check(&[
        ("in", 1_000, Granted),
        ("in", 2_000, Violation),
        ("in", 500, Granted),
        ("out", 600, Granted),
        ("in", 2_001, Violation),
        ("out", 2_002, Granted),
    ]);
}

#[test]
fn who_is_in_an_inner_area_is_in_the_outer_one_too() {
    let mut walk = Walk::new(estate(&mode("hard"), &mode("hard"), &[]));
    walk.check(&[
        ("in", 0, Granted),
        ("lab-in", 1, Granted),
        ("lab-in", 2, Violation),
        ("in", 3, Violation),
        ("lab-out", 4, Granted),
        ("lab-out", 5, Violation),
        ("out", 6, Granted),
    ]);
}

#[test]
fn an_area_is_full_until_somebody_leaves_and_an_exemption_counts() {
    let limit = [("OccupancyUpper", n(2))];
    let mut walk = Walk::new(estate(&limit, &mode("soft"), &[]));
    let area: Arc<str> = Arc::from("building");
    walk.occupancy.counted(&area, 0, 2);
    walk.check(&[("in", 0, Full)]);
    walk.occupancy.counted(&area, 0, 1);
    walk.check(&[
        ("in", 1, Granted),
        ("in", 2, Full),
        ("lab-in", 3, Granted),
        ("lab-out", 4, Granted),
        ("out", 5, Granted),
        ("in", 6, Granted),
    ]);
    let exempt = [("Exemptions", Value::TextSet(vec!["occupancy".to_owned()]))];
    let mut walk = Walk::new(estate(&limit, &[], &exempt));
    walk.occupancy.counted(&area, 0, 2);
    walk.check(&[("in", 0, Granted)]);
    assert_eq!(walk.occupancy.count("building"), 3);
}

#[test]
fn only_the_last_move_of_a_card_in_a_group_is_stored() {
    let muster = [("Muster", Value::Bool(true))];
    let mut walk = Walk::new(estate(&muster, &muster, &[]));
    for (door, after_ms) in [("in", 0), ("lab-in", 1), ("lab-out", 2), ("over", 3)] {
        walk.swipe(door, after_ms);
    }
    let presence = |place, after_ms| Presence {
        place,
        at_ms: START_MS + after_ms,
    };
    assert_eq!(
        walk.moves(),
        [
            (
                "campus".to_owned(),
                presence(Place::Inside(Arc::from("annex")), 3),
                "gate#4".to_owned()
            ),
            (
                "lab".to_owned(),
                presence(Place::Outside, 2),
                "gate#3".to_owned()
            ),
        ]
    );
    assert_eq!(walk.moves(), []);
}

#[test]
fn nothing_is_remembered_where_nothing_asks_for_it() {
    let mut walk = Walk::new(estate(&[], &[], &[]));
    walk.check(&[("in", 0, Granted), ("lab-in", 1, Granted)]);
    assert_eq!(walk.moves(), []);
    let mut walk = Walk::new(estate(&[], &mode("soft"), &[]));
    walk.check(&[("in", 0, Granted), ("lab-in", 1, Granted)]);
    let moves = walk.moves();
    let groups: Vec<_> = moves.iter().map(|(group, _, _)| group).collect();
    assert_eq!(groups, ["campus", "lab"], "they are one family");
}

#[test]
fn what_the_table_knows_is_asked_for_once_and_then_counts() {
    let mut walk = Walk::new(estate(&mode("hard"), &mode("hard"), &[]));
    let book = walk.view.rulebook();
    let point = |id: &str| book.point_id(id).and_then(|id| book.point(id)).copied();
    let (door, lab) = (
        point("in").expect("a door"),
        point("lab-in").expect("a door"),
    );
    let missing = |presences: &mut Presences, point: &Point| {
        presences.areas.follow(book, &mut presences.names);
        let missing = presences.missing("7", point);
        let names = missing.into_iter().map(|name: Arc<str>| name.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(missing(&mut walk.presences, &door), ["campus", "lab"]);
    let campus: Arc<str> = Arc::from("campus");
    let inside = Presence {
        place: Place::Inside(Arc::from("building")),
        at_ms: START_MS,
    };
    walk.presences.learn("7", &campus, Some(inside));
    assert_eq!(missing(&mut walk.presences, &door), ["lab"]);
    assert_eq!(missing(&mut walk.presences, &lab), ["lab", "lab"]);
    walk.presences.learn("7", &Arc::from("lab"), None);
    assert_eq!(missing(&mut walk.presences, &lab), [""; 0]);
    walk.check(&[("in", 1, Violation)]);
}

#[test]
fn the_memory_is_bounded_and_the_youngest_stay() {
    let mut memory = Memories::default();
    for card in 0..3 * memory::GENERATION {
        for card in [&*card.to_string(), "busy"] {
            let slot = memory.slot(card);
            memory.known(slot).entry_mut(1);
        }
        memory.turn();
    }
    assert!(memory.find("busy").is_some());
    assert!(memory.find("0").is_none());
    let last = (3 * memory::GENERATION - 1).to_string();
    assert!(memory.find(&last).is_some());
}

#[test]
fn areas_that_are_named_anew_without_end_do_not_fill_the_memory() {
    let mut walk = Walk::new(estate(&mode("hard"), &[], &[]));
    walk.check(&[("in", 0, Granted), ("in", 1, Violation)]);
    for name in 0..NAMES_MIN {
        let name: Arc<str> = name.to_string().into();
        walk.presences.names.number(&name);
        if name.ends_with("000") {
            walk.presences.end_part(&walk.occupancy);
            assert!(walk.presences.memory.find("7").is_some(), "{name}");
        }
    }
    walk.presences.end_part(&walk.occupancy);
    assert!(walk.presences.names.len() < 10);
    assert!(walk.presences.memory.find("7").is_none());
    walk.check(&[("in", 2, Granted), ("in", 3, Violation)]);
}

#[test]
fn a_rulebook_that_changes_renumbers_areas_and_forgets_nobody() {
    let mut walk = Walk::new(estate(&mode("hard"), &[], &[]));
    walk.check(&[("in", 0, Granted)]);
    // The lab comes to be remembered, too, and the numbers of all areas are other ones.
    walk.view = estate(&mode("hard"), &mode("hard"), &[]);
    walk.check(&[
        ("in", 1, Violation),
        ("lab-in", 2, Granted),
        ("in", 3, Violation),
    ]);
    walk.view = estate(&mode("soft"), &[], &[]);
    assert_eq!(walk.swipe("in", 4), (Granted, true, None));
}

#[test]
fn a_card_that_is_in_a_room_of_a_building_counts_once() {
    let limit = [("OccupancyUpper", n(2))];
    let mut walk = Walk::new(estate(&limit, &mode("soft"), &[]));
    for (door, counts) in [
        ("in", (1, 0)),
        ("lab-in", (1, 1)),
        ("lab-in", (1, 1)),
        ("lab-out", (1, 0)),
        ("lab-in", (1, 1)),
        ("out", (1, 1)),
        ("lab-out", (1, 0)),
        ("over", (0, 0)),
    ] {
        let after_ms = walk.swipes.len() as i64;
        walk.swipe(door, after_ms);
        let count = |area| walk.occupancy.count(area);
        assert_eq!((count("building"), count("lab")), counts, "{door}");
    }
}
