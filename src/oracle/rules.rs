//! The rules as a table: a number and a plain function each, asked in order until one settles the swipe.
//!
//! Written from the contract's list of rules. An egress that is always allowed stands around all later rules: what would
//! have denied becomes a flag. The table is data, so that a test can plant an error in any one line of it.

use super::{
    clock,
    items::{self, Card, Door, Table},
    places::{self, Known},
};

/// What the operator sets.
#[derive(Clone, Debug)]
pub struct Limits {
    pub staleness_ms: i64,
    pub skew_ms: i64,
    pub age_ms: i64,
    pub actuate_ms: i64,
    pub known_devices: bool,
}

/// A swipe, as a gate reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swipe {
    pub device: String,
    pub seq: u64,
    pub door: String,
    pub card: String,
    pub at_ms: i64,
    pub direction: Option<&'static str>,
    pub offline: bool,
}

impl Swipe {
    /// The event on the wire.
    pub fn as_json(&self) -> String {
        let Self {
            device,
            seq,
            door,
            card,
            at_ms,
            ..
        } = self;
        let direction = self.direction.map_or(String::new(), |direction| {
            format!(r#""direction":"{direction}","#)
        });
        let offline = if self.offline {
            r#""offline":true,"#
        } else {
            ""
        };
        format!(
            r#"{{"v":1,"device_id":"{device}","device_seq":{seq},"access_point":"{door}",{direction}{offline}"card_id":"{card}","swiped_at_ms":{at_ms}}}"#
        )
    }
}

/// The answer to a swipe, in the words of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub decision: &'static str,
    pub reason: &'static str,
    pub rule: u8,
    pub flags: Vec<&'static str>,
    pub actuate: bool,
}

/// What one rule says of a swipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Nothing,
    Deny(&'static str),
    Grant(&'static str),
    /// Goes on, and flags.
    Flag(&'static str),
}

use Says::{Deny, Flag, Grant, Nothing};

/// All that a rule may look at.
pub struct Case<'c> {
    pub table: &'c Table,
    pub limits: &'c Limits,
    pub swipe: &'c Swipe,
    pub now_ms: i64,
    /// Up to when everything that happened is known; nothing before the first load.
    pub fresh_ms: Option<i64>,
    pub known: &'c Known,
    pub door: Option<Door<'c>>,
    pub card: Option<Card<'c>>,
}

impl<'c> Case<'c> {
    pub fn door(&self) -> &Door<'c> {
        self.door.as_ref().expect("rule 5 denied without a door")
    }

    pub fn card(&self) -> &Card<'c> {
        self.card.as_ref().expect("rule 10 denied without a card")
    }

    pub fn is_stale(&self) -> bool {
        self.fresh_ms
            .is_none_or(|fresh_ms| self.now_ms - fresh_ms > self.limits.staleness_ms)
    }

    pub fn is_exempt(&self, from: &str) -> bool {
        self.card.as_ref().is_some_and(|card| card.is_exempt(from))
    }
}

pub type Rule = fn(&Case<'_>) -> Says;

/// The rules of the contract, in their order.
pub const RULES: [(u8, Rule); 17] = [
    (2, device),
    (4, time_of_swipe),
    (5, access_point),
    (6, egress),
    (7, posture),
    (8, staleness),
    (10, card_known),
    (12, card_gone),
    (13, card_status),
    (14, holder),
    (15, validity),
    (17, rights),
    (18, schedule),
    (19, threat),
    (21, places::passback),
    (24, places::occupancy),
    (29, granted),
];

pub fn device(case: &Case<'_>) -> Says {
    let trusted = match items::device(case.table, &case.swipe.device) {
        Some(device) => device.active && device.doors.contains(&case.swipe.door.as_str()),
        None => !case.limits.known_devices,
    };
    if trusted {
        Nothing
    } else {
        Deny("UntrustedDevice")
    }
}

pub fn time_of_swipe(case: &Case<'_>) -> Says {
    let at_ms = case.swipe.at_ms;
    if at_ms > case.now_ms + case.limits.skew_ms {
        Deny("FutureSwipe")
    } else if at_ms < case.now_ms - case.limits.age_ms && !case.swipe.offline {
        Deny("StaleSwipe")
    } else {
        Nothing
    }
}

pub fn access_point(case: &Case<'_>) -> Says {
    match (&case.door, case.swipe.direction) {
        (None, _) => Deny("AccessPointUnknown"),
        (Some(door), Some(direction)) if door.direction != direction => Deny("AccessPointUnknown"),
        _ => Nothing,
    }
}

pub fn egress(case: &Case<'_>) -> Says {
    if case.door().direction == "out" && case.door().egress == "always_allow" {
        Grant("GrantedEgress")
    } else {
        Nothing
    }
}

pub fn posture(case: &Case<'_>) -> Says {
    let door = case.door();
    let site = door.site.and_then(|site| items::site(case.table, site));
    let lockdown = door.posture == "lockdown" || site.is_some_and(|site| site.lockdown);
    if door.posture == "disabled" {
        Deny("AccessPointDisabled")
    } else if lockdown && !case.is_exempt("lockdown") {
        Deny("Lockdown")
    } else if door.posture == "unlocked" {
        Grant("GrantedDoorUnlocked")
    } else {
        Nothing
    }
}

pub fn staleness(case: &Case<'_>) -> Says {
    if case.is_stale() && case.door().degraded == "deny" {
        Deny("AuthorizationUnavailable")
    } else {
        Nothing
    }
}

pub fn card_known(case: &Case<'_>) -> Says {
    match case.card {
        None => Deny("CredentialNotFound"),
        Some(_) => Nothing,
    }
}

pub fn card_gone(case: &Case<'_>) -> Says {
    match case.card().status {
        "stolen" => Deny("CredentialStolen"),
        "lost" => Deny("CredentialLost"),
        "destroyed" => Deny("CredentialDestroyed"),
        "damaged" => Deny("CredentialDamaged"),
        _ => Nothing,
    }
}

pub fn card_status(case: &Case<'_>) -> Says {
    match (case.card().available, case.card().status) {
        (true, _) | (_, "unissued") => Deny("CredentialUnassigned"),
        (_, "revoked") => Deny("CredentialRevoked"),
        (_, "suspended") => Deny("CredentialSuspended"),
        (_, "inactive") => Deny("CredentialInactivity"),
        _ => Nothing,
    }
}

pub fn holder(case: &Case<'_>) -> Says {
    match case.card().holder {
        "active" => Nothing,
        _ => Deny("HolderInactive"),
    }
}

pub fn validity(case: &Case<'_>) -> Says {
    let card = case.card();
    if card.valid.before(case.swipe.at_ms) {
        Deny("CredentialNotActive")
    } else if card.valid.over(case.swipe.at_ms) || card.status == "expired" {
        Deny("CredentialExpired")
    } else {
        Nothing
    }
}

/// Whether a schedule is open for a swipe; nothing when that cannot be known, since the schedule or the site has no item.
pub type Opens = fn(&Case<'_>, schedule: &str) -> Option<bool>;

pub fn opens(case: &Case<'_>, schedule: &str) -> Option<bool> {
    opens_at(case, schedule, case.swipe.at_ms)
}

pub fn opens_at(case: &Case<'_>, schedule: &str, at_ms: i64) -> Option<bool> {
    let site = items::site(case.table, case.door().site?)?;
    clock::is_open(
        case.table,
        &site,
        schedule,
        at_ms,
        &mut clock::Diary::default(),
    )
}

/// Of every policy of the card that speaks of the door: whether it denies, and whether its schedule is open.
pub fn covering(case: &Case<'_>, opens: Opens) -> Vec<(bool, Option<bool>)> {
    let (door, at_ms) = (case.door(), case.swipe.at_ms);
    let mut covering = Vec::new();
    for (profile, valid) in &case.card().profiles {
        if valid.before(at_ms) || valid.over(at_ms) {
            continue;
        }
        for policy in items::profile(case.table, profile).unwrap_or_default() {
            let covers = match (&policy.doors, policy.area) {
                (Some(doors), _) => doors.contains(&door.id),
                (None, area) => door.to.is_some() && door.to == area,
            };
            if covers {
                let open = policy.schedule.map_or(Some(true), |id| opens(case, id));
                covering.push((policy.denies, open));
            }
        }
    }
    covering
}

pub fn rights(case: &Case<'_>) -> Says {
    rights_by(case, opens)
}

pub fn rights_by(case: &Case<'_>, opens: Opens) -> Says {
    let covering = covering(case, opens);
    let denied = |(denies, open): &(bool, Option<bool>)| *denies && *open != Some(false);
    if covering.iter().any(denied) {
        Deny("DeniedByRule")
    } else if covering.iter().all(|(denies, _)| *denies) {
        Deny("Unauthorized")
    } else {
        Nothing
    }
}

pub fn schedule(case: &Case<'_>) -> Says {
    schedule_by(case, opens)
}

pub fn schedule_by(case: &Case<'_>, opens: Opens) -> Says {
    if covering(case, opens).contains(&(false, Some(true))) {
        Nothing
    } else {
        Deny("NotPermittedAtThisTime")
    }
}

pub fn threat(case: &Case<'_>) -> Says {
    let level = case.door().threat;
    if level > 0 && case.card().authority < level {
        Deny("ThreatLevel")
    } else {
        Nothing
    }
}

/// Rule 29; a door that went on by what was last known says so.
pub fn granted(case: &Case<'_>) -> Says {
    if case.is_stale() {
        Grant("GrantedDegraded")
    } else {
        Grant("Granted")
    }
}

/// The number that is stored with a reason: that of the rule that spoke, but rule 8 for what it marked.
fn number(rule: u8, reason: &str) -> u8 {
    if reason == "GrantedDegraded" { 8 } else { rule }
}

/// Asks the rules in order.
pub fn settle(rules: &[(u8, Rule)], case: &Case<'_>) -> Answer {
    let age_ms = case.now_ms - case.swipe.at_ms;
    let mut flags = Vec::new();
    let mut egress = None;
    let (mut settled, mut decision) = ((0, "no rule spoke"), "deny");
    for (rule, asks) in rules {
        match asks(case) {
            Nothing => continue,
            Flag(flag) => {
                flags.push(flag);
                continue;
            }
            Grant(reason @ "GrantedEgress") => {
                egress = Some((*rule, reason));
                continue;
            }
            Deny(reason) if egress.is_some() => flags.push(reason),
            Deny(reason) => settled = (number(*rule, reason), reason),
            Grant(reason) => {
                decision = "grant";
                settled = (number(*rule, reason), reason);
            }
        }
        break;
    }
    if let Some(egress) = egress {
        decision = "grant";
        settled = egress;
    }
    flags.sort_unstable();
    Answer {
        decision,
        reason: settled.1,
        rule: settled.0,
        flags,
        actuate: age_ms <= case.limits.actuate_ms,
    }
}

/// What is answered to a swipe that comes again: the first answer, for audit only.
pub fn again(first: &Answer) -> Answer {
    Answer {
        actuate: false,
        ..first.clone()
    }
}
