//! What is counted is counted as a whole, and given back.

use super::*;

fn number(count: u32) -> Option<NonZero<u32>> {
    NonZero::new(count)
}

fn none() -> config::Limits {
    config::Limits { streams_per_user: None, ..config::Limits::default() }
}

fn of(user: &str) -> Asking<'_> {
    Asking { user: Some(user), address: None, route: None }
}

fn from(address: &str) -> Asking<'_> {
    Asking { user: None, address: Some(address.parse().unwrap()), route: None }
}

fn kind(result: Result<Admitted, Limited>) -> Option<LimitKind> {
    result.err().map(|limited| limited.kind)
}

#[test]
fn without_limits_nothing_is_held() {
    let limits = Limits::new(&none());
    assert!(limits.admit(of("1"), Instant::now()).unwrap().permit.is_none());
    assert_eq!(limits.held(), (0, 0, 0));
}

#[test]
fn a_user_has_so_many_and_a_route_may_count_by_itself() {
    let limits = Limits::new(&config::Limits { streams_per_user: number(2), ..none() });
    let now = Instant::now();
    let held: Vec<_> = (0..2).map(|_| limits.admit(of("1"), now).unwrap()).collect();
    assert_eq!(kind(limits.admit(of("1"), now)), Some(LimitKind::User));
    let _other = limits.admit(of("2"), now).unwrap();
    let _anonymous = limits.admit(Asking { user: None, ..of("") }, now).unwrap();
    let route = |most| Asking { route: Some(RouteLimit { route: 7, max_per_user: number(most) }), ..of("1") };
    let own = limits.admit(route(1), now).unwrap();
    assert_eq!(kind(limits.admit(route(1), now)), Some(LimitKind::User));
    assert!(limits.admit(route(0), now).unwrap().permit.is_none());
    assert_eq!(limits.held(), (4, 3, 0));
    drop((held, own));
    assert_eq!(limits.held(), (1, 1, 0));
    assert!(limits.admit(of("1"), now).is_ok());
}

#[test]
fn addresses_of_one_network_are_one() {
    let limits = Limits::new(&config::Limits { streams_per_address: number(1), ..none() });
    let now = Instant::now();
    let _held = ["10.0.0.1", "2001:db8::1", "2001:db8:0:1::1", "0.0.0.0"]
        .map(|address| limits.admit(from(address), now).unwrap());
    for address in ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::2", "2001:db8:0:1:ffff::"] {
        assert_eq!(kind(limits.admit(from(address), now)), Some(LimitKind::Address), "{address}");
    }
    assert!(limits.admit(from("10.0.0.2"), now).is_ok());
}

#[test]
fn a_refusal_takes_nothing() {
    let config = config::Limits {
        streams: number(2),
        streams_per_user: number(1),
        opens_per_second: number(2),
        ..none()
    };
    let limits = Limits::new(&config);
    let now = Instant::now();
    let first = limits.admit(of("1"), now).unwrap();
    for _ in 0..5 {
        assert_eq!(kind(limits.admit(of("1"), now)), Some(LimitKind::User));
    }
    let second = limits.admit(of("2"), now).unwrap();
    assert_eq!(kind(limits.admit(of("3"), now)), Some(LimitKind::Streams));
    drop(second);
    let limited = limits.admit(of("3"), now).unwrap_err();
    assert_eq!((limited.kind, limited.wait), (LimitKind::Rate, Duration::from_millis(500)));
    assert_eq!(limits.held(), (1, 1, 0));
    let later = now + Duration::from_millis(501);
    assert!(limits.admit_ticket(later).is_ok());
    assert_eq!(limits.admit_ticket(later).unwrap_err().kind, LimitKind::Rate);
    assert_eq!(kind(limits.admit(of("3"), later)), Some(LimitKind::Rate));
    drop(first);
    assert_eq!(limits.held(), (0, 0, 0));
}

#[test]
fn a_request_takes_of_its_own_address_only() {
    let config =
        config::Limits { opens_per_second: number(1), opens_per_second_per_address: number(2), ..none() };
    let limits = Limits::new(&config);
    let now = Instant::now();
    let address = |text: &str| Some(text.parse().unwrap());
    for _ in 0..2 {
        assert_eq!(limits.admit_request(address("10.0.0.1"), now), Ok(true));
    }
    let limited = limits.admit_request(address("10.0.0.1"), now).unwrap_err();
    assert_eq!((limited.kind, limited.wait), (LimitKind::AddressRate, Duration::from_millis(500)));
    assert_eq!(limits.admit_request(address("10.0.0.2"), now), Ok(true));
    assert_eq!(limits.admit_request(None, now), Ok(true));
    assert!(limits.admit(from("10.0.0.3"), now).is_ok(), "what all share is there still");
    assert!(limits.admit_request(address("10.0.0.1"), now + Duration::from_millis(501)).is_ok());
}

#[test]
fn a_permit_is_small() {
    assert_eq!(size_of::<Permit>(), 24);
}
