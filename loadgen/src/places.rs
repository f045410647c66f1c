//! Sites, areas, doors and readers of the generated world.
//!
//! Four ordinary sites in four time zones, and one that is locked down as a whole. Each ordinary site has
//! ordinary doors (an entrance and an exit) and one door for every posture and right that the rules name.

use crate::item::{Item, Value};

/// A site: its name, its IANA zone, and minutes ahead of UTC in winter (summer adds at most 60; schedules
/// leave hours of margin for that).
pub struct Site {
    /// First part of every name at this site.
    pub name: &'static str,
    /// IANA time zone.
    pub zone: &'static str,
    /// Minutes ahead of UTC without daylight saving.
    pub offset_minutes: i64,
}

/// The ordinary sites.
pub const SITES: [Site; 4] = [
    Site {
        name: "hq",
        zone: "Europe/Zurich",
        offset_minutes: 60,
    },
    Site {
        name: "nyc",
        zone: "America/New_York",
        offset_minutes: -300,
    },
    Site {
        name: "tyo",
        zone: "Asia/Tokyo",
        offset_minutes: 540,
    },
    Site {
        name: "blr",
        zone: "Asia/Kolkata",
        offset_minutes: 330,
    },
];

/// The site that is locked down.
const ANNEX: Site = Site {
    name: "annex",
    zone: "Australia/Brisbane",
    offset_minutes: 600,
};

/// Ordinary doors of a site.
pub const DOORS: usize = 8;

/// Calendar whose days are dates of one year.
pub const CLOSURES: &str = "closures";
/// Calendar whose days recur every year.
pub const FEASTS: &str = "feasts";

/// A door of a site, by what is special about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// An ordinary entrance, 0 to [`DOORS`].
    Entrance(usize),
    /// The exit of the same door: always open for even numbers, checked for odd ones.
    Exit(usize),
    /// Out of service.
    Broken,
    /// Locked down by itself.
    Locked,
    /// Open for everybody.
    Open,
    /// Covered by an allow and, for some cards, by an explicit deny.
    Vault,
    /// In an area of its own, which profiles name instead of the door.
    Lab,
}

/// The access point's name.
pub fn access_point(site: &str, door: Door) -> String {
    match door {
        Door::Entrance(n) => format!("{site}-door-{n}-in"),
        Door::Exit(n) => format!("{site}-door-{n}-out"),
        Door::Broken => format!("{site}-broken-in"),
        Door::Locked => format!("{site}-locked-in"),
        Door::Open => format!("{site}-open-in"),
        Door::Vault => format!("{site}-vault-in"),
        Door::Lab => format!("{site}-lab-in"),
    }
}

/// The reader of a door.
pub fn device(site: &str, door: Door) -> String {
    match door {
        Door::Entrance(n) | Door::Exit(n) => format!("gate-{site}-{n}"),
        Door::Broken => format!("gate-{site}-broken"),
        Door::Locked => format!("gate-{site}-locked"),
        Door::Open => format!("gate-{site}-open"),
        Door::Vault => format!("gate-{site}-vault"),
        Door::Lab => format!("gate-{site}-lab"),
    }
}

/// A reader that was switched off.
pub fn disabled_device(site: &str) -> String {
    format!("gate-{site}-off")
}

/// A reader that may report the vault only.
pub fn moved_device(site: &str) -> String {
    format!("gate-{site}-moved")
}

/// An entrance of the site that is locked down as a whole.
pub fn annex_entrance() -> String {
    access_point(ANNEX.name, Door::Entrance(0))
}

/// Every item of sites, areas, access points and devices.
pub fn items() -> Vec<Item> {
    let mut items = Vec::new();
    for site in &SITES {
        items.push(site_item(site, false));
        items.extend(["outside", "office", "lab"].map(|area| area_item(site.name, area)));
        for door in doors() {
            items.push(access_point_item(site.name, door));
        }
        items.extend(device_items(site.name));
    }
    items.push(site_item(&ANNEX, true));
    items.push(area_item(ANNEX.name, "office"));
    items.push(access_point_item(ANNEX.name, Door::Entrance(0)));
    items
}

fn doors() -> impl Iterator<Item = Door> {
    (0..DOORS)
        .flat_map(|n| [Door::Entrance(n), Door::Exit(n)])
        .chain([
            Door::Broken,
            Door::Locked,
            Door::Open,
            Door::Vault,
            Door::Lab,
        ])
}

fn site_item(site: &Site, lockdown: bool) -> Item {
    let fields = vec![
        ("TimeZone", site.zone.into()),
        ("HolidayCalendars", Value::texts([CLOSURES, FEASTS])),
        ("Lockdown", Value::Bool(lockdown)),
    ];
    Item::config(format!("SITE#{}", site.name), fields)
}

fn area_item(site: &str, area: &str) -> Item {
    let fields = vec![
        ("SiteId", site.into()),
        ("AreaGroup", site.into()),
        ("PassbackMode", "off".into()),
    ];
    Item::config(format!("AREA#{site}-{area}"), fields)
}

fn access_point_item(site: &str, door: Door) -> Item {
    let out = matches!(door, Door::Exit(_));
    let inner = if door == Door::Lab { "lab" } else { "office" };
    let (from, to) = if out {
        (inner, "outside")
    } else {
        ("outside", inner)
    };
    let posture = match door {
        Door::Broken => "disabled",
        Door::Locked => "lockdown",
        Door::Open => "unlocked",
        _ => "secure",
    };
    let egress = if matches!(door, Door::Exit(n) if n % 2 == 0) {
        "always_allow"
    } else {
        "checked"
    };
    let fields = vec![
        ("SiteId", site.into()),
        ("AreaFrom", format!("{site}-{from}").into()),
        ("AreaTo", format!("{site}-{to}").into()),
        ("Direction", if out { "out" } else { "in" }.into()),
        ("Posture", posture.into()),
        ("Egress", egress.into()),
        ("Degraded", "deny".into()),
        ("ThreatLevel", Value::N(0)),
    ];
    Item::config(format!("AP#{}", access_point(site, door)), fields)
}

fn device_items(site: &str) -> Vec<Item> {
    let item = |id: String, status: &str, points: Vec<String>| {
        let fields = vec![
            ("Status", status.into()),
            ("AccessPoints", Value::texts(points)),
        ];
        Item::config(format!("DEV#{id}"), fields)
    };
    let mut items: Vec<Item> = (0..DOORS)
        .map(|n| {
            let both = [Door::Entrance(n), Door::Exit(n)].map(|door| access_point(site, door));
            item(device(site, Door::Entrance(n)), "active", both.to_vec())
        })
        .collect();
    for door in [
        Door::Broken,
        Door::Locked,
        Door::Open,
        Door::Vault,
        Door::Lab,
    ] {
        items.push(item(
            device(site, door),
            "active",
            vec![access_point(site, door)],
        ));
    }
    let entrances = (0..DOORS)
        .map(|n| access_point(site, Door::Entrance(n)))
        .collect();
    items.push(item(disabled_device(site), "disabled", entrances));
    items.push(item(
        moved_device(site),
        "active",
        vec![access_point(site, Door::Vault)],
    ));
    items
}
