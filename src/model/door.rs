//! Doors and what belongs to them: access points, areas, sites, devices.
