//! The kinds of items of the access table: their keys, and the form of each of their attributes.

use std::str::FromStr;

use crate::access::change::{Entity, entity_of};

/// A kind of item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Cards.
    Cards,
    /// Access points.
    Doors,
    /// Areas.
    Areas,
    /// Sites.
    Sites,
    /// Access profiles.
    Profiles,
    /// Schedules.
    Schedules,
    /// Days of calendars.
    Calendars,
    /// Devices.
    Devices,
}

/// What the values of an attribute are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `S`
    Text,
    /// `N`, whole.
    Number,
    /// `N`: an instant in epoch seconds.
    Instant,
    /// `BOOL`
    Flag,
    /// `L`: of texts, or of maps.
    List,
    /// `SS`
    Set,
}

/// Attributes that an item of any kind may have.
const OF_ALL: &[(&str, Form)] = &[("Version", Form::Number)];

impl Kind {
    /// Every kind, by the word for it.
    pub const ALL: [(&'static str, Self); 8] = [
        ("cards", Self::Cards),
        ("doors", Self::Doors),
        ("areas", Self::Areas),
        ("sites", Self::Sites),
        ("profiles", Self::Profiles),
        ("schedules", Self::Schedules),
        ("calendars", Self::Calendars),
        ("devices", Self::Devices),
    ];

    /// The kind of the item of that key, if it is one of these.
    pub fn of(pk: &str, sk: &str) -> Option<Self> {
        entity_of(pk, sk).map(|entity| match entity {
            Entity::Card(_) => Self::Cards,
            Entity::AccessPoint(_) => Self::Doors,
            Entity::Area(_) => Self::Areas,
            Entity::Site(_) => Self::Sites,
            Entity::Profile(_) => Self::Profiles,
            Entity::Schedule(_) => Self::Schedules,
            Entity::CalendarDay(..) => Self::Calendars,
            Entity::Device(_) => Self::Devices,
        })
    }

    /// What partition keys begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Cards => "CARD#",
            Self::Doors => "AP#",
            Self::Areas => "AREA#",
            Self::Sites => "SITE#",
            Self::Profiles => "PROFILE#",
            Self::Schedules => "SCHED#",
            Self::Calendars => "CAL#",
            Self::Devices => "DEV#",
        }
    }

    /// The key of the item of that id; a day of a calendar needs its date, too.
    pub fn key(self, id: &str, date: &str) -> (String, String) {
        let sk = match self {
            Self::Cards => "CARD#STATUS".to_owned(),
            Self::Calendars => format!("DAY#{date}"),
            _ => "CONFIG".to_owned(),
        };
        (format!("{}{id}", self.prefix()), sk)
    }

    /// The attributes that an item of this kind may have, but those of every item.
    const fn own(self) -> &'static [(&'static str, Form)] {
        use Form::{Flag, Instant, List, Number, Set, Text};
        match self {
            Self::Cards => &[
                ("CardStatus", Text),
                ("IsAvailableForIssue", Flag),
                ("CardIssuedTo", Text),
                ("HolderStatus", Text),
                ("ValidFrom", Instant),
                ("ValidTo", Instant),
                ("AccessProfiles", List),
                ("Exemptions", Set),
                ("ThreatAuthority", Number),
                ("ForgivenAt", Instant),
            ],
            Self::Doors => &[
                ("SiteId", Text),
                ("AreaFrom", Text),
                ("AreaTo", Text),
                ("Direction", Text),
                ("Posture", Text),
                ("Egress", Text),
                ("Degraded", Text),
                ("ThreatLevel", Number),
            ],
            Self::Areas => &[
                ("SiteId", Text),
                ("AreaGroup", Text),
                ("Parent", Text),
                ("PassbackMode", Text),
                ("PassbackTimeoutMin", Number),
                ("OccupancyUpper", Number),
                ("Muster", Flag),
            ],
            Self::Sites => &[
                ("TimeZone", Text),
                ("HolidayCalendars", List),
                ("Lockdown", Flag),
            ],
            Self::Profiles => &[("Policies", List)],
            Self::Schedules => &[("Windows", List), ("SpecialDays", List)],
            Self::Calendars => &[("Recurring", Flag)],
            Self::Devices => &[("Status", Text), ("AccessPoints", List)],
        }
    }

    /// The form of an attribute of that name, if items of this kind have one.
    pub fn form(self, name: &str) -> Option<Form> {
        let mut all = self.own().iter().chain(OF_ALL);
        all.find(|(known, _)| *known == name).map(|(_, form)| *form)
    }

    /// The names of all attributes, for people.
    pub fn attributes(self) -> String {
        let names: Vec<_> = self.own().iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(known, _)| *known == word);
        known.map(|(_, kind)| *kind).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|(word, _)| *word).collect();
            format!("expected one of {}", words.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_every_kind_is_one_that_the_daemon_reads() {
        for (word, kind) in Kind::ALL {
            let (pk, sk) = kind.key("x", "2026-12-25");
            assert_eq!(Kind::of(&pk, &sk), Some(kind), "{word}");
            assert_eq!(word.parse(), Ok(kind));
        }
        assert!("card".parse::<Kind>().is_err());
    }
}
