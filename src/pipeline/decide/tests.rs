//! The rules one by one, at their edges, and in their order.

use proptest::prelude::*;

use super::*;
use crate::{
    access::{
        cache::{AccessCache, Snapshot},
        fixtures::{item, list, map, n, put, s, window, yes},
    },
    model::item::{Item, Value},
};

/// Monday 2 March 2026, 08:58:41 in Amsterdam.
const NOW_MS: i64 = 1_772_438_321_123;
const NOW_S: i64 = NOW_MS / 1000;

/// Items by key; what is said later of one key counts.
#[derive(Clone)]
struct World(Vec<Item>);

impl World {
    /// One office that is always open to one active card.
    fn new() -> Self {
        Self(Vec::new())
            .with(item(
                "SITE#hq",
                "CONFIG",
                [("TimeZone", s("Europe/Amsterdam"))],
            ))
            .point("in", "in", [])
            .point("out", "out", [])
            .with(item(
                "DEV#gate",
                "CONFIG",
                [
                    ("Status", s("active")),
                    ("AccessPoints", list([s("in"), s("out")])),
                ],
            ))
            .profile(
                "staff",
                [map([("AccessPoints", list([s("in"), s("out")]))])],
            )
            .card([])
    }

    fn with(mut self, item: Item) -> Self {
        self.0.push(item);
        self
    }

    fn overlaid<const N: usize, const M: usize>(
        self,
        (pk, sk): (&str, &str),
        base: [(&str, Value); N],
        said: [(&str, Value); M],
    ) -> Self {
        let mut whole = item(pk, sk, base);
        whole.extend(said.map(|(name, value)| (name.to_owned(), value)));
        self.with(whole)
    }

    fn point<const N: usize>(self, id: &str, direction: &str, said: [(&str, Value); N]) -> Self {
        let base = [
            ("SiteId", s("hq")),
            ("AreaTo", s(id)),
            ("Direction", s(direction)),
        ];
        self.overlaid((&format!("AP#{id}"), "CONFIG"), base, said)
    }

    fn profile<const N: usize>(self, id: &str, policies: [Value; N]) -> Self {
        self.with(item(
            &format!("PROFILE#{id}"),
            "CONFIG",
            [("Policies", list(policies))],
        ))
    }

    fn card<const N: usize>(self, said: [(&str, Value); N]) -> Self {
        let base = [
            ("CardStatus", s("issued")),
            ("HolderStatus", s("active")),
            ("AccessProfiles", list([s("staff")])),
        ];
        self.overlaid(("CARD#7", "CARD#STATUS"), base, said)
    }

    fn site<const N: usize>(self, said: [(&str, Value); N]) -> Self {
        self.overlaid(
            ("SITE#hq", "CONFIG"),
            [("TimeZone", s("Europe/Amsterdam"))],
            said,
        )
    }

    /// Loaded and fresh at [`NOW_MS`].
    fn cache(&self) -> AccessCache {
        let cache = AccessCache::new();
        let snapshot = Snapshot::new();
        snapshot.scanned(&self.0);
        cache.replace(snapshot);
        cache.mark_fresh(NOW_MS);
        cache
    }

    fn ask(&self, swipe: &Swipe<'_>) -> Verdict {
        decide(swipe, &self.cache().view(), &Policy::default(), NOW_MS).verdict
    }
}

fn swipe() -> Swipe<'static> {
    Swipe {
        device_id: "gate".into(),
        device_seq: 1,
        access_point: "in".into(),
        card_id: "7".into(),
        swiped_at_ms: NOW_MS,
        direction: None,
        offline: false,
        trace_id: None,
    }
}

fn leaving() -> Swipe<'static> {
    Swipe {
        access_point: "out".into(),
        ..swipe()
    }
}

#[track_caller]
fn check(world: &World, swipe: &Swipe<'_>, reason: Reason) {
    assert_eq!(world.ask(swipe), Verdict::of(reason));
}

#[test]
fn a_good_card_at_an_open_profile_is_granted_both_ways() {
    check(&World::new(), &swipe(), Reason::Granted);
    check(&World::new(), &leaving(), Reason::Granted);
}

#[test]
fn the_ruling_tells_the_direction_of_a_known_access_point_whatever_the_answer() {
    let cache = World::new().cache();
    let ask =
        |swipe: &Swipe<'_>| decide(swipe, &cache.view(), &Policy::default(), NOW_MS).direction;
    assert_eq!(ask(&swipe()), Some(Direction::In));
    assert_eq!(ask(&leaving()), Some(Direction::Out));
    assert_eq!(
        ask(&Swipe {
            card_id: "8".into(),
            ..swipe()
        }),
        Some(Direction::In)
    );
    assert_eq!(
        ask(&Swipe {
            device_id: "other".into(),
            access_point: "nowhere".into(),
            ..swipe()
        }),
        None
    );
}

// === rule 2: device ===

#[test]
fn a_device_that_is_disabled_or_does_not_list_the_access_point_is_not_believed() {
    let device = |status: Option<&str>, points: Option<Value>| {
        let mut said = item("DEV#gate", "CONFIG", []);
        said.extend(status.map(|status| ("Status".to_owned(), s(status))));
        said.extend(points.map(|points| ("AccessPoints".to_owned(), points)));
        World::new().with(said)
    };
    let rows = [
        (Some("active"), Some(list([s("in")])), Reason::Granted),
        (
            Some("disabled"),
            Some(list([s("in")])),
            Reason::UntrustedDevice,
        ),
        (None, Some(list([s("in")])), Reason::UntrustedDevice),
        (
            Some("active"),
            Some(list([s("out"), s("never-seen")])),
            Reason::UntrustedDevice,
        ),
        (Some("active"), Some(list([])), Reason::UntrustedDevice),
        (Some("active"), None, Reason::UntrustedDevice),
    ];
    for (status, points, reason) in rows {
        check(&device(status, points), &swipe(), reason);
    }
}

#[test]
fn a_device_without_an_item_is_believed_unless_devices_must_be_known() {
    let stranger = Swipe {
        device_id: "stranger".into(),
        ..swipe()
    };
    check(&World::new(), &stranger, Reason::Granted);
    let policy = Policy {
        require_known_devices: true,
        ..Policy::default()
    };
    let view = World::new().cache().view();
    assert_eq!(
        decide(&stranger, &view, &policy, NOW_MS).verdict.reason,
        Reason::UntrustedDevice
    );
    assert_eq!(
        decide(&swipe(), &view, &policy, NOW_MS).verdict.reason,
        Reason::Granted
    );
}

#[test]
fn a_device_may_list_an_access_point_that_does_not_exist() {
    let world = World::new().with(item(
        "DEV#gate",
        "CONFIG",
        [
            ("Status", s("active")),
            ("AccessPoints", list([s("ghost")])),
        ],
    ));
    check(
        &world,
        &Swipe {
            access_point: "ghost".into(),
            ..swipe()
        },
        Reason::AccessPointUnknown,
    );
}

// === rule 4: time of the swipe ===

#[test]
fn a_swipe_is_in_time_up_to_and_including_the_edges() {
    let day_ms = 86_400_000;
    let rows = [
        (NOW_MS + 30_000, false, Reason::Granted),
        (NOW_MS + 30_001, false, Reason::FutureSwipe),
        (NOW_MS + 30_001, true, Reason::FutureSwipe),
        (i64::MAX, false, Reason::FutureSwipe),
        (NOW_MS - day_ms, false, Reason::Granted),
        (NOW_MS - day_ms - 1, false, Reason::StaleSwipe),
        (NOW_MS - day_ms - 1, true, Reason::Granted),
        (i64::MIN, false, Reason::StaleSwipe),
        (i64::MIN, true, Reason::Granted),
    ];
    for (swiped_at_ms, offline, reason) in rows {
        check(
            &World::new(),
            &Swipe {
                swiped_at_ms,
                offline,
                ..swipe()
            },
            reason,
        );
    }
}

#[test]
fn a_gate_acts_on_a_decision_up_to_its_limit() {
    let policy = Policy::default();
    let rows = [(0, true), (2_000, true), (2_001, false), (-30_000, true)];
    for (age_ms, actuates) in rows {
        assert_eq!(
            policy.actuates(NOW_MS - age_ms, NOW_MS),
            actuates,
            "{age_ms} ms old"
        );
    }
    assert!(!policy.actuates(i64::MIN, NOW_MS));
}

// === rule 5: access point ===

#[test]
fn a_direction_that_contradicts_the_access_point_makes_it_unknown() {
    let rows = [
        ("in", None, Reason::Granted),
        ("in", Some(Direction::In), Reason::Granted),
        ("in", Some(Direction::Out), Reason::AccessPointUnknown),
        ("out", Some(Direction::In), Reason::AccessPointUnknown),
    ];
    for (access_point, direction, reason) in rows {
        check(
            &World::new(),
            &Swipe {
                access_point: access_point.into(),
                direction,
                ..swipe()
            },
            reason,
        );
    }
    let ghost = Swipe {
        device_id: "other".into(),
        access_point: "ghost".into(),
        ..swipe()
    };
    check(&World::new(), &ghost, Reason::AccessPointUnknown);
}

// === rule 6: the way out ===

#[test]
fn a_free_way_out_grants_and_flags_what_would_have_denied() {
    let free = || World::new().point("out", "out", [("Egress", s("always_allow"))]);
    let rows = [
        (free(), None),
        (
            free().card([("CardStatus", s("stolen"))]),
            Some(Reason::CredentialStolen),
        ),
        (
            free().card([("AccessProfiles", list([]))]),
            Some(Reason::Unauthorized),
        ),
        (free().site([("Lockdown", yes())]), Some(Reason::Lockdown)),
        (
            World::new().point(
                "out",
                "out",
                [("Egress", s("always_allow")), ("Posture", s("disabled"))],
            ),
            Some(Reason::AccessPointDisabled),
        ),
        (
            World::new().point(
                "out",
                "out",
                [("Egress", s("always_allow")), ("Posture", s("unlocked"))],
            ),
            None,
        ),
    ];
    for (world, would_deny) in rows {
        let expected = Verdict {
            would_deny,
            ..Verdict::of(Reason::GrantedEgress)
        };
        assert_eq!(world.ask(&leaving()), expected);
    }
    let nobody = Swipe {
        card_id: "8".into(),
        ..leaving()
    };
    assert_eq!(
        free().ask(&nobody).would_deny,
        Some(Reason::CredentialNotFound)
    );
}

#[test]
fn a_free_way_out_stays_free_when_nothing_is_known_of_cards() {
    let cache = World::new()
        .point("out", "out", [("Egress", s("always_allow"))])
        .cache();
    let late = NOW_MS + 60_001;
    let swipe = Swipe {
        swiped_at_ms: late,
        ..leaving()
    };
    let verdict = decide(&swipe, &cache.view(), &Policy::default(), late).verdict;
    assert_eq!(verdict.reason, Reason::GrantedEgress);
    assert_eq!(verdict.would_deny, Some(Reason::AuthorizationUnavailable));
}

#[test]
fn a_way_in_or_a_checked_way_out_is_never_free() {
    let none = [("AccessProfiles", list([]))];
    let way_in = World::new()
        .point("in", "in", [("Egress", s("always_allow"))])
        .card(none.clone());
    check(&way_in, &swipe(), Reason::Unauthorized);
    check(
        &World::new()
            .point("out", "out", [("Egress", s("checked"))])
            .card(none.clone()),
        &leaving(),
        Reason::Unauthorized,
    );
    check(&World::new().card(none), &leaving(), Reason::Unauthorized);
}

#[test]
fn a_free_way_out_does_not_excuse_a_bad_device_or_a_wrong_clock() {
    let free = World::new().point("out", "out", [("Egress", s("always_allow"))]);
    check(
        &free,
        &Swipe {
            swiped_at_ms: NOW_MS + 30_001,
            ..leaving()
        },
        Reason::FutureSwipe,
    );
    check(
        &free,
        &Swipe {
            direction: Some(Direction::In),
            ..leaving()
        },
        Reason::AccessPointUnknown,
    );
    let disabled = free.with(item("DEV#gate", "CONFIG", [("Status", s("disabled"))]));
    check(&disabled, &leaving(), Reason::UntrustedDevice);
}

// === rule 7: posture ===

#[test]
fn posture_speaks_in_the_order_disabled_lockdown_unlocked() {
    let exempt = || {
        (
            "Exemptions",
            Value::TextSet(vec!["feeding-the-cat".to_owned(), "lockdown".to_owned()]),
        )
    };
    let posture = |posture: &str| World::new().point("in", "in", [("Posture", s(posture))]);
    let locked_site = |world: World| world.site([("Lockdown", yes())]);
    let rows = [
        (posture("secure"), Reason::Granted),
        (posture("disabled"), Reason::AccessPointDisabled),
        (posture("lockdown"), Reason::Lockdown),
        (posture("unlocked"), Reason::GrantedDoorUnlocked),
        (
            locked_site(posture("disabled")),
            Reason::AccessPointDisabled,
        ),
        (locked_site(posture("secure")), Reason::Lockdown),
        (locked_site(posture("unlocked")), Reason::Lockdown),
        (
            posture("disabled").card([exempt()]),
            Reason::AccessPointDisabled,
        ),
        (posture("lockdown").card([exempt()]), Reason::Granted),
        (
            locked_site(posture("secure")).card([exempt()]),
            Reason::Granted,
        ),
        (
            locked_site(posture("unlocked")).card([exempt()]),
            Reason::GrantedDoorUnlocked,
        ),
        (
            posture("lockdown").card([exempt(), ("CardStatus", s("stolen"))]),
            Reason::CredentialStolen,
        ),
        (
            posture("lockdown").card([("Exemptions", Value::TextSet(vec!["passback".to_owned()]))]),
            Reason::Lockdown,
        ),
    ];
    for (world, reason) in rows {
        check(&world, &swipe(), reason);
    }
    let nobody = Swipe {
        card_id: "8".into(),
        ..swipe()
    };
    check(&posture("lockdown"), &nobody, Reason::Lockdown);
    check(&posture("unlocked"), &nobody, Reason::GrantedDoorUnlocked);
}

// === rule 8: freshness ===

#[test]
fn old_knowledge_denies_or_is_marked_as_the_door_says() {
    let last_known = || World::new().point("in", "in", [("Degraded", s("last_known"))]);
    let rows = [
        (World::new(), 60_000, Reason::Granted),
        (World::new(), 60_001, Reason::AuthorizationUnavailable),
        (last_known(), 60_000, Reason::Granted),
        (last_known(), 60_001, Reason::GrantedDegraded),
        (
            last_known().card([("CardStatus", s("stolen"))]),
            60_001,
            Reason::CredentialStolen,
        ),
        (
            last_known().card([("AccessProfiles", list([]))]),
            60_001,
            Reason::Unauthorized,
        ),
        (
            World::new().point("in", "in", [("Posture", s("unlocked"))]),
            60_001,
            Reason::GrantedDoorUnlocked,
        ),
        (
            World::new().card([("CardStatus", s("stolen"))]),
            60_001,
            Reason::AuthorizationUnavailable,
        ),
    ];
    for (world, staleness_ms, reason) in rows {
        let now_ms = NOW_MS + staleness_ms;
        let swipe = Swipe {
            swiped_at_ms: now_ms,
            ..swipe()
        };
        let verdict = decide(&swipe, &world.cache().view(), &Policy::default(), now_ms).verdict;
        assert_eq!(verdict, Verdict::of(reason), "{staleness_ms} ms");
    }
}

#[test]
fn a_cache_that_was_never_loaded_grants_nothing() {
    let cache = AccessCache::new();
    cache.apply(&World::new().0.into_iter().map(put).collect::<Vec<_>>());
    let ask = |policy: &Policy| {
        decide(&swipe(), &cache.view(), policy, NOW_MS)
            .verdict
            .reason
    };
    assert_eq!(ask(&Policy::default()), Reason::AuthorizationUnavailable);
    cache.mark_fresh(NOW_MS);
    assert_eq!(ask(&Policy::default()), Reason::Granted);
    let empty = AccessCache::new();
    let reason = decide(&swipe(), &empty.view(), &Policy::default(), NOW_MS)
        .verdict
        .reason;
    assert_eq!(reason, Reason::AccessPointUnknown);
}

// === rules 10 to 15: the card ===

#[test]
fn every_status_of_a_card_has_its_word() {
    let rows = [
        ("issued", Reason::Granted, Reason::CredentialUnassigned),
        ("stolen", Reason::CredentialStolen, Reason::CredentialStolen),
        ("lost", Reason::CredentialLost, Reason::CredentialLost),
        (
            "destroyed",
            Reason::CredentialDestroyed,
            Reason::CredentialDestroyed,
        ),
        (
            "damaged",
            Reason::CredentialDamaged,
            Reason::CredentialDamaged,
        ),
        (
            "unissued",
            Reason::CredentialUnassigned,
            Reason::CredentialUnassigned,
        ),
        (
            "revoked",
            Reason::CredentialRevoked,
            Reason::CredentialUnassigned,
        ),
        (
            "suspended",
            Reason::CredentialSuspended,
            Reason::CredentialUnassigned,
        ),
        (
            "inactive",
            Reason::CredentialInactivity,
            Reason::CredentialUnassigned,
        ),
        (
            "expired",
            Reason::CredentialExpired,
            Reason::CredentialUnassigned,
        ),
    ];
    for (status, reason, in_the_pool) in rows {
        check(
            &World::new().card([("CardStatus", s(status))]),
            &swipe(),
            reason,
        );
        let pooled = [("CardStatus", s(status)), ("IsAvailableForIssue", yes())];
        check(&World::new().card(pooled), &swipe(), in_the_pool);
    }
    check(
        &World::new(),
        &Swipe {
            card_id: "8".into(),
            ..swipe()
        },
        Reason::CredentialNotFound,
    );
}

#[test]
fn a_holder_who_is_not_active_or_not_said_is_denied() {
    for (status, reason) in [
        ("active", Reason::Granted),
        ("inactive", Reason::HolderInactive),
        ("onboarding", Reason::HolderInactive),
    ] {
        check(
            &World::new().card([("HolderStatus", s(status))]),
            &swipe(),
            reason,
        );
    }
    let unsaid = item(
        "CARD#7",
        "CARD#STATUS",
        [
            ("CardStatus", s("issued")),
            ("AccessProfiles", list([s("staff")])),
        ],
    );
    check(&World::new().with(unsaid), &swipe(), Reason::HolderInactive);
}

#[test]
fn a_card_is_valid_from_its_first_second_and_no_more_at_its_last() {
    let at = |swiped_at_ms| Swipe {
        swiped_at_ms,
        ..swipe()
    };
    let rows = [
        (
            "ValidFrom",
            NOW_S,
            NOW_S * 1000 - 1,
            Reason::CredentialNotActive,
        ),
        ("ValidFrom", NOW_S, NOW_S * 1000, Reason::Granted),
        ("ValidTo", NOW_S, NOW_S * 1000 - 1, Reason::Granted),
        ("ValidTo", NOW_S, NOW_S * 1000, Reason::CredentialExpired),
        (
            "ValidTo",
            NOW_S,
            NOW_S * 1000 + 999,
            Reason::CredentialExpired,
        ),
        ("ValidTo", 0, NOW_MS, Reason::CredentialExpired),
        ("ValidFrom", 0, NOW_MS, Reason::Granted),
    ];
    for (bound, second, swiped_at_ms, reason) in rows {
        check(
            &World::new().card([(bound, n(second))]),
            &at(swiped_at_ms),
            reason,
        );
    }
    // An end before the beginning is never valid: first not yet, then no more.
    let never = World::new().card([("ValidFrom", n(NOW_S + 10)), ("ValidTo", n(NOW_S))]);
    check(&never, &at(NOW_MS), Reason::CredentialNotActive);
    check(&never, &at(NOW_MS + 10_000), Reason::CredentialExpired);
}

// === rules 17 and 18: rights and time ===

#[test]
fn profiles_cover_points_by_name_or_by_the_area_they_lead_to() {
    let area = |id: &str| map([("AreaId", s(id))]);
    let rows = [
        (World::new().profile("staff", [area("in")]), Reason::Granted),
        (
            World::new().profile("staff", [area("out")]),
            Reason::Unauthorized,
        ),
        (
            World::new().profile("staff", [map([("AccessPoints", list([s("out")]))])]),
            Reason::Unauthorized,
        ),
        (
            World::new().profile("staff", [area("out"), area("in")]),
            Reason::Granted,
        ),
        (World::new().profile("staff", []), Reason::Unauthorized),
        (
            World::new().card([("AccessProfiles", list([s("nobody-knows"), s("staff")]))]),
            Reason::Granted,
        ),
        (
            World::new().card([("AccessProfiles", list([s("nobody-knows")]))]),
            Reason::Unauthorized,
        ),
        (
            World::new().card([("AccessProfiles", list([]))]),
            Reason::Unauthorized,
        ),
    ];
    for (world, reason) in rows {
        check(&world, &swipe(), reason);
    }
}

#[test]
fn a_profile_counts_only_while_its_link_is_valid() {
    let link = |bound: &str, second: i64| {
        let link = map([("Id", s("staff")), (bound, n(second))]);
        World::new().card([("AccessProfiles", list([link]))])
    };
    let at = |swiped_at_ms| Swipe {
        swiped_at_ms,
        ..swipe()
    };
    let rows = [
        ("ValidFrom", -1, Reason::Unauthorized),
        ("ValidFrom", 0, Reason::Granted),
        ("ValidTo", -1, Reason::Granted),
        ("ValidTo", 0, Reason::Unauthorized),
    ];
    for (bound, offset_ms, reason) in rows {
        check(&link(bound, NOW_S), &at(NOW_S * 1000 + offset_ms), reason);
    }
}

#[test]
fn an_explicit_deny_wins_over_every_allow_while_it_is_in_force() {
    let deny = |schedule: Option<&str>| {
        let mut policy = vec![("AreaId", s("in")), ("Effect", s("deny"))];
        policy.extend(schedule.map(|schedule| ("ScheduleId", s(schedule))));
        Value::Map(
            policy
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    };
    let world = |schedule| {
        World::new()
            .profile("no-entry", [deny(schedule)])
            .with(item(
                "SCHED#now",
                "CONFIG",
                [("Windows", list([window([1], "08:00", "09:00")]))],
            ))
            .with(item(
                "SCHED#later",
                "CONFIG",
                [("Windows", list([window([1], "09:00", "10:00")]))],
            ))
    };
    let both =
        |world: World, order: [&str; 2]| world.card([("AccessProfiles", list(order.map(s)))]);
    for order in [["staff", "no-entry"], ["no-entry", "staff"]] {
        check(&both(world(None), order), &swipe(), Reason::DeniedByRule);
        check(
            &both(world(Some("now")), order),
            &swipe(),
            Reason::DeniedByRule,
        );
        check(
            &both(world(Some("later")), order),
            &swipe(),
            Reason::Granted,
        );
        check(
            &both(world(Some("missing")), order),
            &swipe(),
            Reason::DeniedByRule,
        );
        check(&both(world(None), order), &leaving(), Reason::Granted);
    }
    // A deny that rests does not cover.
    let only = world(Some("later")).card([("AccessProfiles", list([s("no-entry")]))]);
    check(&only, &swipe(), Reason::Unauthorized);
}

#[test]
fn a_covered_point_is_closed_when_no_schedule_is_open_or_none_can_be_known() {
    let allow = |schedules: &[&str]| {
        let policy = |schedule: &&str| map([("AreaId", s("in")), ("ScheduleId", s(schedule))]);
        World::new()
            .with(item(
                "PROFILE#staff",
                "CONFIG",
                [(
                    "Policies",
                    Value::List(schedules.iter().map(policy).collect()),
                )],
            ))
            .with(item(
                "SCHED#now",
                "CONFIG",
                [("Windows", list([window([1], "08:00", "09:00")]))],
            ))
            .with(item(
                "SCHED#later",
                "CONFIG",
                [("Windows", list([window([1], "09:00", "10:00")]))],
            ))
            .with(item("SCHED#never", "CONFIG", []))
            .with(item(
                "SCHED#broken",
                "CONFIG",
                [("Windows", list([window([8], "00:00", "24:00")]))],
            ))
    };
    let rows = [
        (allow(&["now"]), Reason::Granted),
        (allow(&["later"]), Reason::NotPermittedAtThisTime),
        (allow(&["later", "now"]), Reason::Granted),
        (allow(&["now", "later"]), Reason::Granted),
        (allow(&["never"]), Reason::NotPermittedAtThisTime),
        (allow(&["broken"]), Reason::NotPermittedAtThisTime),
        (allow(&["missing"]), Reason::NotPermittedAtThisTime),
        (
            allow(&["now"]).point("in", "in", [("SiteId", s("moon"))]),
            Reason::NotPermittedAtThisTime,
        ),
        (
            World::new().point("in", "in", [("SiteId", s("moon"))]),
            Reason::Granted,
        ),
        (
            allow(&["now"]).site([("TimeZone", s("Mars/Olympus"))]),
            Reason::NotPermittedAtThisTime,
        ),
        (
            allow(&["now"]).site([("TimeZone", s("Europe/London"))]),
            Reason::NotPermittedAtThisTime,
        ),
    ];
    for (world, reason) in rows {
        // A malformed item replaces what was said before it only when it is applied, as live changes are.
        let cache = AccessCache::new();
        for item in world.0 {
            cache.apply(&[put(item)]);
        }
        cache.mark_fresh(NOW_MS);
        let verdict = decide(&swipe(), &cache.view(), &Policy::default(), NOW_MS).verdict;
        assert_eq!(verdict, Verdict::of(reason));
    }
}

#[test]
fn windows_end_to_the_second_in_the_time_of_the_site() {
    let world = World::new()
        .with(item(
            "PROFILE#staff",
            "CONFIG",
            [(
                "Policies",
                list([map([("AreaId", s("in")), ("ScheduleId", s("day"))])]),
            )],
        ))
        .with(item(
            "SCHED#day",
            "CONFIG",
            [("Windows", list([window([1], "08:58", "08:59")]))],
        ));
    let minute = NOW_MS - NOW_MS % 60_000;
    let rows = [
        (minute - 1, Reason::NotPermittedAtThisTime),
        (minute, Reason::Granted),
        (minute + 59_999, Reason::Granted),
        (minute + 60_000, Reason::NotPermittedAtThisTime),
    ];
    for (swiped_at_ms, reason) in rows {
        check(
            &world,
            &Swipe {
                swiped_at_ms,
                offline: true,
                ..swipe()
            },
            reason,
        );
    }
}

#[test]
fn a_holiday_closes_where_the_site_observes_its_calendar() {
    let special = map([("CalendarId", s("nl"))]);
    let world = |observed: Value, recurring: bool, day: &str| {
        World::new()
            .site([("HolidayCalendars", observed)])
            .with(item(
                "CAL#nl",
                &format!("DAY#{day}"),
                [("Recurring", Value::Bool(recurring))],
            ))
            .with(item(
                "SCHED#day",
                "CONFIG",
                [
                    ("Windows", list([window([1], "08:00", "18:00")])),
                    ("SpecialDays", list([special.clone()])),
                ],
            ))
            .profile(
                "staff",
                [map([("AreaId", s("in")), ("ScheduleId", s("day"))])],
            )
    };
    let rows = [
        (
            world(list([s("nl")]), false, "2026-03-02"),
            Reason::NotPermittedAtThisTime,
        ),
        (
            world(list([s("be"), s("nl")]), true, "2020-03-02"),
            Reason::NotPermittedAtThisTime,
        ),
        (world(list([s("nl")]), false, "2020-03-02"), Reason::Granted),
        (world(list([s("nl")]), false, "2026-03-03"), Reason::Granted),
        (world(list([s("be")]), false, "2026-03-02"), Reason::Granted),
    ];
    for (world, reason) in rows {
        check(&world, &swipe(), reason);
    }
}

// === order ===

#[test]
fn the_first_rule_that_matches_speaks_however_many_would() {
    // Everything is wrong at once; each step repairs what spoke, and the next rule is heard.
    let nothing = Policy {
        max_swipe_age_ms: 0,
        max_card_staleness_ms: -1,
        ..Policy::default()
    };
    let fresh = Policy {
        max_card_staleness_ms: 60_000,
        ..nothing
    };
    let device = |points: [Value; 1]| {
        item(
            "DEV#gate",
            "CONFIG",
            [("Status", s("active")), ("AccessPoints", list(points))],
        )
    };
    let bad = World::new()
        .with(device([s("out")]))
        .with(item(
            "SITE#hq",
            "CONFIG",
            [("TimeZone", s("Europe/Amsterdam")), ("Lockdown", yes())],
        ))
        .point("in", "in", [("Posture", s("disabled"))])
        .with(item("SCHED#never", "CONFIG", []))
        .profile(
            "staff",
            [
                map([("AreaId", s("in")), ("Effect", s("deny"))]),
                map([("AreaId", s("in")), ("ScheduleId", s("never"))]),
            ],
        );
    let wrong = [
        ("CardStatus", s("stolen")),
        ("IsAvailableForIssue", yes()),
        ("HolderStatus", s("inactive")),
        ("ValidFrom", n(NOW_S + 1000)),
        ("ValidTo", n(NOW_S - 1000)),
    ];
    let bad = bad.card(wrong.clone());
    let old = Swipe {
        swiped_at_ms: NOW_MS - 1,
        direction: Some(Direction::Out),
        ..swipe()
    };
    let now = Swipe {
        swiped_at_ms: NOW_MS,
        ..old.clone()
    };
    let right = Swipe {
        direction: None,
        ..now.clone()
    };
    let heard = bad.clone().with(device([s("in")]));
    let enabled = heard.clone().point("in", "in", []);
    let calm = enabled.clone().site([]);
    let issued = |skip: usize| {
        let mut said = item(
            "CARD#7",
            "CARD#STATUS",
            [
                ("CardStatus", s("issued")),
                ("HolderStatus", s("active")),
                ("AccessProfiles", list([s("staff")])),
            ],
        );
        said.extend(
            wrong
                .iter()
                .skip(skip)
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        calm.clone().with(said)
    };
    let no_deny = issued(5).profile(
        "staff",
        [map([("AreaId", s("in")), ("ScheduleId", s("never"))])],
    );
    let steps = [
        (bad, &old, &nothing, Reason::UntrustedDevice),
        (heard.clone(), &old, &nothing, Reason::StaleSwipe),
        (heard.clone(), &now, &nothing, Reason::AccessPointUnknown),
        (heard, &right, &nothing, Reason::AccessPointDisabled),
        (enabled, &right, &nothing, Reason::Lockdown),
        (
            calm.clone(),
            &right,
            &nothing,
            Reason::AuthorizationUnavailable,
        ),
        (calm.clone(), &right, &fresh, Reason::CredentialStolen),
        (issued(1), &right, &fresh, Reason::CredentialUnassigned),
        (issued(2), &right, &fresh, Reason::HolderInactive),
        (issued(3), &right, &fresh, Reason::CredentialNotActive),
        (issued(4), &right, &fresh, Reason::CredentialExpired),
        (issued(5), &right, &fresh, Reason::DeniedByRule),
        (no_deny, &right, &fresh, Reason::NotPermittedAtThisTime),
    ];
    let mut last = 0;
    for (world, swipe, policy, reason) in steps {
        let verdict = decide(swipe, &world.cache().view(), policy, NOW_MS).verdict;
        assert_eq!(verdict, Verdict::of(reason));
        assert!(
            reason.rule() >= last,
            "rule {} after rule {last}",
            reason.rule()
        );
        last = reason.rule();
    }
}

// === malformed items ===

fn any_value() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("issued"),
        Just("active"),
        Just("in"),
        Just("out"),
        Just("staff"),
        Just("hq"),
        Just("allow"),
        Just("deny"),
        Just("unlocked"),
        Just("always_allow"),
        Just("08:00"),
        Just("24:00"),
        Just("UTC"),
        Just(""),
    ];
    let leaf = prop_oneof![
        word.prop_map(s),
        any::<String>().prop_map(Value::Text),
        any::<i64>().prop_map(n),
        "[-+0-9.eE]{0,20}".prop_map(Value::Number),
        any::<bool>().prop_map(Value::Bool),
        proptest::collection::vec(any::<String>(), 0..3).prop_map(Value::TextSet),
        Just(Value::Null),
        Just(Value::Other),
    ];
    let name = prop_oneof![
        Just("Id"),
        Just("AccessPoints"),
        Just("AreaId"),
        Just("ScheduleId"),
        Just("Effect"),
        Just("Days"),
        Just("From"),
        Just("Until"),
        Just("CalendarId"),
        Just("Windows"),
        Just("ValidFrom"),
        Just("ValidTo"),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(Value::Map),
        ]
    })
}

const ATTRIBUTES: [&str; 24] = [
    "CardStatus",
    "IsAvailableForIssue",
    "HolderStatus",
    "ValidFrom",
    "ValidTo",
    "AccessProfiles",
    "Exemptions",
    "ThreatAuthority",
    "Version",
    "SiteId",
    "AreaTo",
    "Direction",
    "Posture",
    "Egress",
    "Degraded",
    "ThreatLevel",
    "TimeZone",
    "HolidayCalendars",
    "Lockdown",
    "Policies",
    "Windows",
    "SpecialDays",
    "Status",
    "AccessPoints",
];

proptest! {
    #[test]
    fn random_items_never_panic_and_only_a_readable_card_is_ever_granted(
        keys in proptest::collection::vec(0_usize..8, 1..12),
        fields in proptest::collection::vec((0..ATTRIBUTES.len(), any_value()), 0..60),
    ) {
        let kinds = [
            ("CARD#7", "CARD#STATUS"), ("AP#in", "CONFIG"), ("AREA#in", "CONFIG"), ("SITE#hq", "CONFIG"),
            ("PROFILE#staff", "CONFIG"), ("SCHED#day", "CONFIG"), ("CAL#c", "DAY#2026-03-02"), ("DEV#gate", "CONFIG"),
        ];
        let snapshot = Snapshot::new();
        snapshot.scanned(&World::new().0);
        let cache = AccessCache::new();
        cache.replace(snapshot);
        cache.mark_fresh(NOW_MS);
        let mut last_card = Ok(());
        for (index, kind) in keys.iter().enumerate() {
            let mut said = item(kinds[*kind].0, kinds[*kind].1, []);
            let mine = fields.iter().skip(index).step_by(keys.len());
            said.extend(mine.map(|(field, value)| (ATTRIBUTES[*field].to_owned(), value.clone())));
            let applied = cache.apply(&[put(said)]);
            if *kind == 0 {
                last_card = applied.malformed.first().map_or(Ok(()), |bad| Err(bad.why.clone()));
            }
        }
        let verdict = decide(&swipe(), &cache.view(), &Policy::default(), NOW_MS).verdict;
        if last_card.is_err() {
            prop_assert!(!matches!(verdict.reason, Reason::Granted | Reason::GrantedDegraded), "{last_card:?}");
        }
    }

    #[test]
    fn one_attribute_of_a_wrong_kind_turns_a_grant_into_a_denial(
        field in 0_usize..8,
        wrong in any_value(),
    ) {
        // What each attribute may be; everything else is wrong.
        let name = ATTRIBUTES[field];
        let right_kind = match name {
            "IsAvailableForIssue" => matches!(wrong, Value::Bool(_)),
            "CardStatus" | "HolderStatus" => matches!(wrong, Value::Text(_)),
            "AccessProfiles" => matches!(wrong, Value::List(_)),
            "Exemptions" => matches!(wrong, Value::TextSet(_)),
            _ => matches!(wrong, Value::Number(_)),
        };
        prop_assume!(!right_kind);
        let world = World::new();
        let cache = world.cache();
        let mut said = world.0.last().cloned().unwrap_or_default();
        said.insert(name.to_owned(), wrong);
        let applied = cache.apply(&[put(said)]);
        prop_assert_eq!(applied.malformed.len(), 1);
        prop_assert_eq!(&applied.malformed[0].why.attribute, name);
        let verdict = decide(&swipe(), &cache.view(), &Policy::default(), NOW_MS).verdict;
        prop_assert_eq!(verdict, Verdict::of(Reason::CredentialNotFound));
    }
}
