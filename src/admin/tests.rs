//! The listener over real HTTP on a free port.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::*;

struct Served {
    address: SocketAddr,
    sources: Sources,
}

fn served() -> Served {
    let admin = Admin::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = admin.address().expect("bound");
    let sources = Sources {
        exposition: Exposition::for_tests(),
        pulses: Arc::new(Pulses::new()),
        board: Arc::new(Board::new("worker-1", Duration::from_secs(60))),
    };
    admin.start(sources.clone()).expect("a thread");
    Served { address, sources }
}

impl Served {
    /// Status and body of one request.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).expect("the listener is there");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
        (head[9..12].parse().expect("a status"), body.to_owned())
    }

    #[track_caller]
    fn check(&self, path: &str, status: u16, body: &str) {
        let (found, text) = self.ask("GET", path);
        assert_eq!(found, status, "{path}: {text}");
        assert!(text.contains(body), "{path}: {text}");
    }
}

#[test]
fn readiness_follows_the_cache_and_the_drain() {
    let served = served();
    served.check("/readyz", 503, "access_loaded");
    served.sources.board.access(AccessStatus {
        loaded: true,
        cards: 3,
        staleness: Duration::ZERO,
    });
    served.check("/readyz", 200, r#"{"failed":[],"ready":true}"#);
    let stale = Duration::from_secs(61);
    served.sources.board.access(AccessStatus {
        loaded: true,
        cards: 3,
        staleness: stale,
    });
    served.check("/readyz", 503, "access_fresh");
    served.sources.board.access(AccessStatus {
        loaded: true,
        cards: 3,
        staleness: Duration::ZERO,
    });
    served.sources.board.draining();
    served.check("/readyz", 503, "not_draining");
    served.check("/livez", 200, r#""alive":true"#);
}

#[test]
fn liveness_names_the_loop_that_stands_still() {
    let served = served();
    served.check("/livez", 200, "");
    let pulse = served
        .sources
        .pulses
        .watch("coordinator", Duration::from_millis(50));
    thread::sleep(Duration::from_millis(100));
    served.check("/livez", 503, "coordinator");
    pulse.beat();
    served.check("/livez", 200, "");
}

#[test]
fn the_status_tells_who_holds_what() {
    let served = served();
    let lease = LeaseStatus {
        shard: "shardId-000000000003".to_owned(),
        checkpoint: "4965".to_owned(),
        behind_latest_ms: Some(120),
        halted: None,
    };
    served.sources.board.leases(vec![lease], 2);
    let (status, body) = served.ask("GET", "/status.json");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 200);
    assert_eq!(body["worker_id"], "worker-1");
    assert_eq!(body["workers"], 2);
    assert_eq!(body["leases"][0]["shard"], "shardId-000000000003");
    assert_eq!(body["leases"][0]["behind_latest_ms"], 120);
    assert_eq!(body["access"]["staleness_ms"], serde_json::Value::Null);
}

#[test]
fn metrics_are_served_and_nothing_else_is() {
    let served = served();
    served.check("/metrics", 200, "process_resident_memory_bytes");
    served.check("/", 404, "/metrics");
    assert_eq!(served.ask("POST", "/metrics").0, 405);
    assert_eq!(served.ask("HEAD", "/livez"), (200, String::new()));
}

#[test]
fn a_taken_port_is_a_clear_error() {
    let first = Admin::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let taken = first.address().expect("bound");
    let error = Admin::bind(taken).expect_err("taken").to_string();
    assert_eq!(
        error,
        format!("cannot listen on {taken}: free the port or change admin.listen")
    );
}
