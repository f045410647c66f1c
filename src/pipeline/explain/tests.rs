//! The explained answer is the daemon's, over the items that `wanted` asks for alone; and its rules stand as the answer says.

use proptest::{prelude::*, sample::select};

use super::*;
use crate::access::fixtures::{item, list, map, n, s, window};

/// Monday 2 March 2026, 08:58:41 in Amsterdam.
const NOW_MS: i64 = 1_772_438_321_123;
const NOW_S: i64 = NOW_MS / 1000;

/// What the daemon answers that has loaded all of `items`, and read what is stored of the card.
fn daemon(items: &[Item], question: &Question<'_>) -> Verdict {
    let view = view(items, question.at_ms);
    let swipe = Swipe {
        device_id: question.device.unwrap_or("-").into(),
        device_seq: 0,
        access_point: question.door.into(),
        card_id: question.card.into(),
        swiped_at_ms: question.at_ms,
        direction: None,
        offline: false,
        trace_id: None,
    };
    let ruling = decide(&swipe, &view, question.policy, question.at_ms);
    let (mut presences, occupancy) = (Presences::default(), Occupancy::default());
    for area in view.rulebook().areas() {
        let stored = find_presence(items, question.card, &area.group);
        presences.learn(
            question.card,
            &area.group,
            stored.map(|(presence, _)| presence),
        );
        occupancy.counted(&area.id, 0, question.inside.unwrap_or(0));
    }
    presences.settle(0, &swipe, &ruling, view.rulebook(), &occupancy)
}

/// Reads from `world` what is wanted, as the command does from the table.
fn gather(world: &[Item], question: &Question<'_>) -> Vec<Item> {
    let text = |item: &Item, name: &str| {
        item.get(name)
            .and_then(Value::as_text)
            .unwrap_or_default()
            .to_owned()
    };
    let of = |item: &Item| (text(item, "PK"), text(item, "SK"));
    let card = format!("CARD#{}", question.card);
    let stored = world
        .iter()
        .filter(|item| of(item).0 == card && of(item).1.starts_with(PRESENCE));
    let mut items: Vec<Item> = stored.cloned().collect();
    loop {
        let wanted = wanted(&items, question.card, question.door, question.device);
        let found: Vec<Item> = world
            .iter()
            .filter(|item| !items.contains(item))
            .filter(|item| {
                let (pk, sk) = of(item);
                wanted.iter().any(|wanted| match wanted {
                    Wanted::Item(one, other) => (one, other) == (&pk, &sk),
                    Wanted::Calendar(id) => pk == format!("CAL#{id}"),
                })
            })
            .cloned()
            .collect();
        if found.is_empty() {
            return items;
        }
        items.extend(found);
    }
}

/// An item whose attributes are each said, or seldom not.
fn some(
    pk: String,
    sk: &'static str,
    said: Vec<BoxedStrategy<(&'static str, Value)>>,
) -> BoxedStrategy<Item> {
    let said: Vec<_> = said
        .into_iter()
        .map(|one| proptest::option::weighted(0.93, one))
        .collect();
    said.prop_map(move |said| {
        let mut whole = item(&pk, sk, []);
        whole.extend(
            said.into_iter()
                .flatten()
                .map(|(name, value)| (name.to_owned(), value)),
        );
        whole
    })
    .boxed()
}

fn one<const N: usize>(
    name: &'static str,
    values: [Value; N],
) -> BoxedStrategy<(&'static str, Value)> {
    select(values.to_vec())
        .prop_map(move |value| (name, value))
        .boxed()
}

fn any_of(name: &'static str, words: &[&'static str]) -> BoxedStrategy<(&'static str, Value)> {
    select(words.to_vec())
        .prop_map(move |word| (name, s(word)))
        .boxed()
}

fn areas() -> [Value; 4] {
    ["lobby", "lab", "lab", "annex"].map(s)
}

fn world() -> impl Strategy<Value = Vec<Item>> {
    let words = |words: &str| Value::TextSet(words.split(' ').map(str::to_owned).collect());
    let card = || {
        let status = [&["issued"; 9][..], &["lost", "revoked", "issud"]].concat();
        let link = map([("Id", s("night")), ("ValidTo", n(NOW_S))]);
        let profiles = [
            list([s("staff")]),
            list([s("staff")]),
            list([s("staff"), s("none")]),
            list([link, s("staff")]),
            list([s("staff"), s("night")]),
        ];
        vec![
            any_of("CardStatus", &status),
            any_of(
                "HolderStatus",
                &["active", "active", "active", "active", "inactive"],
            ),
            one("AccessProfiles", profiles),
            one(
                "ValidTo",
                [n(NOW_S), n(NOW_S + 1), n(NOW_S + 90_000), n(NOW_S + 90_000)],
            ),
            one("ThreatAuthority", [n(0), n(5)]),
            one("ForgivenAt", [n(NOW_S), n(0), n(0)]),
            one(
                "Exemptions",
                [
                    words("lockdown"),
                    words("passback occupancy"),
                    words("none"),
                ],
            ),
        ]
    };
    let door = || {
        vec![
            any_of("Direction", &["in", "in", "in", "in", "out", "up"]),
            any_of("SiteId", &["hq", "hq", "hq", "hq", "hq", "far"]),
            one("AreaFrom", areas()),
            one("AreaTo", areas()),
            any_of(
                "Posture",
                &[&["secure"; 9][..], &["unlocked", "lockdown", "disabled"]].concat(),
            ),
            one("Egress", ["always_allow", "checked"].map(s)),
            one("ThreatLevel", [n(0), n(0), n(0), n(0), n(3)]),
        ]
    };
    let area = || {
        vec![
            any_of("AreaGroup", &["campus", "campus", "campus", "annexes"]),
            any_of("Parent", &["lobby", "lab"]),
            any_of("PassbackMode", &["off", "soft", "hard", "hard"]),
            one("PassbackTimeoutMin", [n(0), n(1), n(60)]),
            one("OccupancyUpper", [n(0), n(3)]),
        ]
    };
    let presence = || {
        vec![
            one(
                "ScannedStatus",
                ["scanned-in", "scanned-in", "scanned-out"].map(s),
            ),
            one("Area", areas()),
            one(
                "ScannedAt",
                [n(NOW_MS - 1), n(NOW_MS - 600_000), n(NOW_MS + 1)],
            ),
            one("LastAccessPoint", ["in"].map(s)),
        ]
    };
    let doors = ["in", "out"];
    let policy = |effect: &str, schedule: Option<&str>, to: bool| {
        let mut fields = map([("Effect", s(effect))]);
        if let Value::Map(fields) = &mut fields {
            match to {
                true => fields.insert("AreaId".to_owned(), s("lab")),
                false => fields.insert("AccessPoints".to_owned(), list(doors.map(s))),
            };
            fields.extend(schedule.map(|id| ("ScheduleId".to_owned(), s(id))));
        }
        fields
    };
    let staff = [
        list([policy("allow", None, false)]),
        list([policy("allow", None, false)]),
        list([policy("allow", Some("office"), false)]),
        list([
            policy("allow", None, true),
            policy("deny", Some("office"), false),
        ]),
        list([policy("allow", Some("none"), false)]),
    ];
    let special = map([("CalendarId", s("holidays")), ("Windows", list([]))]);
    let mut items = Vec::new();
    for id in ["7", "8"] {
        items.push(some(format!("CARD#{id}"), "CARD#STATUS", card()));
        for group in ["PRESENCE#campus", "PRESENCE#annexes", "PRESENCE#lab"] {
            items.push(some(format!("CARD#{id}"), group, presence()));
        }
    }
    items.extend(doors.map(|id| some(format!("AP#{id}"), "CONFIG", door())));
    items.extend(["lobby", "lab", "annex"].map(|id| some(format!("AREA#{id}"), "CONFIG", area())));
    items.extend([
        some(
            "PROFILE#staff".to_owned(),
            "CONFIG",
            vec![one("Policies", staff)],
        ),
        some(
            "PROFILE#night".to_owned(),
            "CONFIG",
            vec![one("Policies", [list([policy("deny", None, false)])])],
        ),
        some(
            "SCHED#office".to_owned(),
            "CONFIG",
            vec![
                one(
                    "Windows",
                    [
                        list([window([1, 2, 3, 4, 5], "08:00", "18:00")]),
                        list([window([7], "22:00", "06:00")]),
                    ],
                ),
                one("SpecialDays", [list([special])]),
            ],
        ),
        some("CAL#holidays".to_owned(), "DAY#2026-03-02", vec![]),
        some(
            "SITE#hq".to_owned(),
            "CONFIG",
            vec![
                one("TimeZone", ["Europe/Amsterdam", "Pacific/Auckland"].map(s)),
                one(
                    "Lockdown",
                    [
                        Value::Bool(false),
                        Value::Bool(false),
                        Value::Bool(false),
                        Value::Bool(true),
                    ],
                ),
                one("HolidayCalendars", [list([s("holidays")]), list([])]),
            ],
        ),
        some(
            "DEV#gate".to_owned(),
            "CONFIG",
            vec![
                one("Status", ["active", "active", "disabled"].map(s)),
                one("AccessPoints", [list(doors.map(s)), list([s("in")])]),
            ],
        ),
    ]);
    let there = items
        .into_iter()
        .map(|item| proptest::option::weighted(0.95, item));
    there
        .collect::<Vec<_>>()
        .prop_map(|items| items.into_iter().flatten().collect())
}

/// Exactly one rule settled it, none before it was not asked, and none after it was asked unless it grants in spite of them.
#[track_caller]
fn check_steps(explained: &Explanation) {
    let settled = explained
        .steps
        .iter()
        .filter(|step| step.standing == Standing::Settled);
    let settled: Vec<_> = settled.map(|step| step.rule).collect();
    assert_eq!(settled, [explained.verdict.reason.rule()]);
    let at = |standing: Standing| {
        explained
            .steps
            .iter()
            .position(|step| step.standing == standing)
    };
    if let Some(first) = at(Standing::NotAsked) {
        let rest = explained.steps[first..].iter();
        assert!(
            rest.clone().all(|step| step.standing == Standing::NotAsked),
            "{explained:?}"
        );
    }
    assert_eq!(
        at(Standing::WouldDeny).is_some(),
        explained.verdict.would_deny.is_some()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn the_explained_answer_is_the_daemons(
        world in world(),
        card in select(vec!["7", "8", "9"]),
        door in select(vec!["in", "in", "out", "other"]),
        device in select(vec![None, None, Some("gate"), Some("other")]),
        inside in select(vec![None, Some(2), Some(3)]),
        later_ms in select(vec![0, 1000, 12 * 3_600_000]),
        require_known_devices in proptest::bool::weighted(0.1),
    ) {
        let policy = Policy { require_known_devices, ..Policy::default() };
        let at_ms = NOW_MS + later_ms;
        let question = Question { card, door, device, at_ms, policy: &policy, inside };
        let explained = explain(&gather(&world, &question), &question);
        prop_assert_eq!(explained.verdict, daemon(&world, &question));
        check_steps(&explained);
    }
}

/// A door that one profile opens in office hours, leading to a lab with hard anti-passback.
fn lab(more: Vec<Item>) -> Vec<Item> {
    let policy = map([
        ("AccessPoints", list([s("in")])),
        ("ScheduleId", s("office")),
    ]);
    let mut items = vec![
        item(
            "CARD#7",
            "CARD#STATUS",
            [
                ("CardStatus", s("issued")),
                ("HolderStatus", s("active")),
                ("AccessProfiles", list([s("staff")])),
            ],
        ),
        item(
            "AP#in",
            "CONFIG",
            [
                ("Direction", s("in")),
                ("SiteId", s("hq")),
                ("AreaTo", s("lab")),
            ],
        ),
        item("SITE#hq", "CONFIG", [("TimeZone", s("Europe/Amsterdam"))]),
        item("PROFILE#staff", "CONFIG", [("Policies", list([policy]))]),
        item(
            "SCHED#office",
            "CONFIG",
            [("Windows", list([window([1], "08:00", "18:00")]))],
        ),
        item("AREA#lab", "CONFIG", [("PassbackMode", s("hard"))]),
    ];
    items.extend(more);
    items
}

#[track_caller]
fn check(items: &[Item], at_ms: i64, reason: Reason, rule: u8, fact: &str) {
    let policy = Policy::default();
    let question = Question {
        card: "7",
        door: "in",
        device: None,
        at_ms,
        policy: &policy,
        inside: None,
    };
    let explained = explain(items, &question);
    assert_eq!(explained.verdict.reason, reason, "{explained:#?}");
    let step = explained
        .steps
        .iter()
        .find(|step| step.rule == rule)
        .expect("a rule of the contract");
    assert!(
        step.facts.iter().any(|told| told == fact),
        "{fact:?} is not in {:#?}",
        step.facts
    );
    check_steps(&explained);
}

#[test]
fn each_rule_tells_what_it_looked_at() {
    let (evening_ms, good) = (NOW_MS + 12 * 3_600_000, lab(vec![]));
    check(
        &good,
        NOW_MS,
        Reason::Granted,
        17,
        "profile staff: allows the door, schedule office",
    );
    check(
        &good,
        NOW_MS,
        Reason::Granted,
        18,
        "at the site it is Monday 2026-03-02 08:58:41 CET",
    );
    check(
        &good,
        NOW_MS,
        Reason::Granted,
        21,
        "group lab: where the card is, is not known",
    );
    check(
        &good,
        evening_ms,
        Reason::NotPermittedAtThisTime,
        18,
        "schedule office is closed",
    );
    let inside = item(
        "CARD#7",
        "PRESENCE#lab",
        [
            ("ScannedStatus", s("scanned-in")),
            ("Area", s("lab")),
            ("ScannedAt", n(NOW_MS - 1000)),
            ("LastAccessPoint", s("in")),
        ],
    );
    let told = "group lab: inside lab since 2026-03-02T07:58:40.123Z (by in)";
    check(
        &lab(vec![inside]),
        NOW_MS,
        Reason::AntiPassbackViolation,
        21,
        told,
    );
    check(
        &[],
        NOW_MS,
        Reason::AccessPointUnknown,
        5,
        "there is no item AP#in",
    );
    check(
        &good[1..],
        NOW_MS,
        Reason::CredentialNotFound,
        10,
        "there is no item CARD#7",
    );
    let mut malformed = good;
    malformed[0].insert("CardStatus".to_owned(), s("issud"));
    let told = "CARD#7 is malformed and counts as absent: CardStatus is not a known word";
    check(&malformed, NOW_MS, Reason::CredentialNotFound, 10, told);
}
