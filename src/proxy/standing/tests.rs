//! What is known of servers, tested with the clock in hand.

use tokio::time::advance;

use super::*;
use crate::config::Origin;

fn shared(servers: usize, set: impl FnOnce(&mut config::Upstream)) -> Arc<Shared> {
    let origins = (0..servers).map(|n| Origin::Unix(format!("/{n}").into())).collect();
    let mut upstream = config::Upstream::new("app", origins);
    set(&mut upstream);
    Arc::new(Shared::new(&upstream))
}

#[tokio::test(start_paused = true)]
async fn each_rest_is_longer_than_the_one_before_up_to_a_bound() {
    let shared = shared(2, |_| {});
    let server = &shared.servers[0];
    let mut rests = Vec::new();
    for _ in 0..9 {
        let rest = server.failed(true).unwrap();
        assert!(!server.admits());
        advance(rest + Duration::from_millis(2)).await;
        // One tries it, and nobody else meanwhile.
        assert!(server.admits() && !server.admits());
        rests.push(rest.as_secs_f64());
    }
    for (rest, expected) in rests.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]) {
        assert!((0.79..1.21).contains(&(rest / expected)), "{rests:?}");
    }
    assert!(server.answered() && server.admits() && server.admits() && !server.answered());
    assert!(server.failed(true).unwrap() < Duration::from_secs(2), "it begins anew");
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_is_never_decided_is_made_again() {
    let shared = shared(2, |_| {});
    let server = &shared.servers[0];
    advance(server.failed(true).unwrap() + Duration::from_millis(2)).await;
    assert!(server.admits() && !server.admits());
    advance(TRIAL + Duration::from_millis(2)).await;
    assert!(server.admits());
}

#[tokio::test(start_paused = true)]
async fn failures_count_in_a_row_and_late_ones_not_twice() {
    let shared = shared(2, |_| {});
    let server = &shared.servers[0];
    for _ in 0..3 {
        assert!(server.failed(false).is_none() && server.failed(false).is_none());
        assert!(!server.answered(), "it had never rested");
    }
    assert!(server.failed(false).is_none() && server.failed(false).is_none());
    let rest = server.failed(false).unwrap();
    for _ in 0..10 {
        assert!(server.failed(true).is_none(), "of requests that were on their way");
    }
    advance(rest + Duration::from_millis(2)).await;
    assert!(server.is_well());
}

#[tokio::test]
async fn turns_are_counted_only_where_that_is_of_use() {
    let plain = shared(1, |_| {});
    assert!(!plain.servers[0].is_counted());
    let by_turns = shared(2, |_| {});
    assert!(!by_turns.servers[0].is_counted());
    let fewest = shared(2, |upstream| upstream.balance = Balance::LeastConnections);
    let leases = [fewest.servers[0].lease().unwrap(), fewest.servers[0].lease().unwrap()];
    assert_eq!(fewest.servers[0].requests(), 2);
    drop(leases);
    assert_eq!(fewest.servers[0].requests(), 0);
    let limited = shared(1, |upstream| upstream.max_connections = 1);
    let lease = limited.servers[0].lease().unwrap();
    assert!(limited.servers[0].lease().is_none());
    drop(lease);
    assert!(limited.servers[0].lease().is_some());
}

#[test]
fn no_more_wait_than_there_are_places() {
    let shared = shared(1, |_| {});
    let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| shared.wait().unwrap()).collect();
    assert!(shared.wait().is_none() && shared.wait().is_none());
    waiting.pop();
    assert!(shared.wait().is_some());
}

#[test]
fn a_limit_that_changes_counts_what_is_under_way() {
    let upstream = |limit, servers: &[&str]| {
        let origins = servers.iter().map(|path| Origin::Unix(path.into())).collect();
        config::Upstream { max_connections: limit, ..config::Upstream::new("app", origins) }
    };
    let first = [upstream(3, &["/a"])];
    let standings = Standings::new(&first);
    let mut leases: Vec<_> = (0..3).map(|_| standings.0[0].servers[0].lease().unwrap()).collect();

    let second = [upstream(1, &["/b", "/a"])];
    let standings = standings.become_those(&first, &second);
    let server = &standings.0[0].servers[1];
    for left in [2, 1, 0] {
        assert!(server.lease().is_none(), "{left} over the limit");
        leases.pop();
    }
    let lease = server.lease().unwrap();
    assert!(server.lease().is_none());

    // Owed ones first, then free ones.
    let third = [upstream(2, &["/a"])];
    let standings = standings.become_those(&second, &third);
    let server = &standings.0[0].servers[0];
    let other = server.lease().unwrap();
    assert!(server.lease().is_none());
    drop((lease, other));
    assert_eq!(server.requests(), 0);

    assert!(Arc::ptr_eq(&standings.become_those(&third, &third).0[0], &standings.0[0]));
    let without = [upstream(0, &["/a"])];
    let standings = standings.become_those(&third, &without);
    assert!((0..9).all(|_| standings.0[0].servers[0].lease().is_some()));
}
