//! Listening on names with a resolver of our own; 127.0.0.0/8 is all of this box.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;
use crate::base::task;

const PATIENCE: Duration = Duration::from_secs(20);

/// A resolver that gives these answers, then the last one for ever.
fn answers(list: &[Option<&[&str]>]) -> Resolver {
    let answer =
        |found: &Option<&[&str]>| found.map(|ips| ips.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<_>>());
    let list: RefCell<VecDeque<Option<Vec<IpAddr>>>> = RefCell::new(list.iter().map(answer).collect());
    Resolver(Rc::new(move |_, port| {
        let mut list = list.borrow_mut();
        let next = if list.len() > 1 { list.pop_front() } else { list.front().cloned() };
        let found = next.unwrap().ok_or_else(|| io::Error::other("unknown"));
        Box::pin(async move { found.map(|ips| ips.into_iter().map(|ip| (ip, port).into()).collect()) })
    }))
}

/// Keeps the connections and greets each with one byte.
#[derive(Clone, Default)]
struct Greeter(Rc<RefCell<Vec<tokio::net::TcpStream>>>);

impl Host for Greeter {
    fn listens(&self, _: SocketAddr) {}

    fn take(&self, stream: tokio::net::TcpStream, _: SocketAddr) {
        let kept = self.0.clone();
        task::spawn(async move {
            stream.writable().await.unwrap();
            stream.try_write(b"x").unwrap();
            kept.borrow_mut().push(stream);
        });
    }
}

fn greet() -> Rc<dyn Host> {
    Rc::new(Greeter::default())
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

/// A connection that has been greeted.
async fn connect(address: &str, port: u16) -> io::Result<TcpStream> {
    greeted(TcpStream::connect((address, port))?).await
}

async fn greeted(mut stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    eventually("greeted", || stream.peek(&mut [0]).is_ok()).await;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}

fn free_port() -> u16 {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    taken.local_addr().unwrap().port()
}

fn address(host: &str, port: u16) -> Address {
    Address { host: host.to_owned(), port }
}

fn socket(ip: &str, port: u16) -> SocketAddr {
    (ip.parse::<IpAddr>().unwrap(), port).into()
}

#[test]
fn a_name_that_is_not_known_is_listened_on_once_it_is() {
    run(async {
        let (port, alarms) = (free_port(), Alarms::default());
        let prepared = bind_by(&address("box", port), answers(&[None, None, Some(&["127.0.0.2"])]), &Shelf::default())
            .await
            .unwrap();
        let listening = Listening::new(prepared, alarms.clone(), "HTTP", greet());
        assert!(listening.addresses().contains(&socket("127.0.0.1", port)));
        let alarm = &alarms.list()[0];
        assert_eq!((alarm.component, alarm.key.as_str()), ("HTTP", "address"));
        assert!(alarm.text.contains(&format!("box:{port}")) && alarm.text.contains("127.0.0.1"), "{}", alarm.text);

        let mut early = connect("127.0.0.1", port).await.unwrap();
        eventually("the name is known", || alarms.list().is_empty()).await;
        assert_eq!(listening.addresses(), [socket("127.0.0.2", port)]);
        connect("127.0.0.2", port).await.unwrap();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody asked for loopback");
        early.write_all(b"still open").unwrap();
        assert_eq!(early.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    });
}

#[test]
fn a_name_of_loopback_takes_over_what_is_open() {
    run(async {
        let (port, alarms) = (free_port(), Alarms::default());
        let prepared =
            bind_by(&address("box", port), answers(&[None, Some(&["127.0.0.1"])]), &Shelf::default()).await.unwrap();
        let listening = Listening::new(prepared, alarms.clone(), "HTTP", greet());
        eventually("the name is known", || alarms.list().is_empty()).await;
        assert_eq!(listening.addresses(), [socket("127.0.0.1", port)]);
        connect("127.0.0.1", port).await.unwrap();
    });
}

#[test]
fn a_resolver_that_is_silent_does_not_hold_up_the_start() {
    run(async {
        let silent = Resolver(Rc::new(|_, _| Box::pin(std::future::pending())));
        let prepared = bind_by(&address("box", free_port()), silent, &Shelf::default()).await.unwrap();
        assert!(matches!(prepared.unknown, Some(Error::Resolve { .. })));
        assert!(!prepared.opened.is_empty());
    });
}

#[test]
fn a_move_to_an_unknown_name_keeps_what_is_open() {
    run(async {
        let (port, alarms) = (free_port(), Alarms::default());
        let prepared = bind_by(&address("127.0.0.1", port), answers(&[None]), &Shelf::default()).await.unwrap();
        let listening = Listening::new(prepared, alarms.clone(), "HTTP", greet());
        listening.put(listening.prepare(&address("box", port)).await.unwrap());
        assert_eq!(listening.address(), address("box", port));
        assert_eq!(listening.addresses(), [socket("127.0.0.1", port)]);
        assert_eq!(alarms.list().len(), 1);
        // And on to another, which ends the search.
        listening.put(listening.prepare(&address("127.0.0.3", port)).await.unwrap());
        assert_eq!(listening.addresses(), [socket("127.0.0.3", port)]);
        assert!(alarms.list().is_empty() && listening.0.state.borrow().search.is_none());
        connect("127.0.0.3", port).await.unwrap();
    });
}

#[test]
fn all_addresses_and_one_of_them_follow_each_other_on_one_port() {
    run(async {
        let port = free_port();
        let prepared = bind_by(&address("", port), answers(&[None]), &Shelf::default()).await.unwrap();
        let listening = Listening::new(prepared, Alarms::default(), "HTTP", greet());
        for host in ["127.0.0.1", "", "127.0.0.2", ""] {
            listening.put(listening.prepare(&address(host, port)).await.unwrap());
            assert_eq!(listening.addresses().len(), 1, "{host:?}");
            connect(if host.is_empty() { "127.0.0.1" } else { host }, port).await.unwrap();
        }
    });
}

#[test]
fn a_move_that_fails_leaves_what_is_open() {
    run(async {
        let foreign = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
        let port = foreign.local_addr().unwrap().port();
        let prepared = bind_by(&address("127.0.0.1", port), answers(&[None]), &Shelf::default()).await.unwrap();
        let listening = Listening::new(prepared, Alarms::default(), "HTTP", greet());
        let moved = listening.prepare(&address("127.0.0.2", port)).await;
        assert!(matches!(moved, Err(Error::Bind { .. })));
        assert_eq!(listening.address(), address("127.0.0.1", port));
        connect("127.0.0.1", port).await.unwrap();
    });
}

#[test]
fn addresses_of_a_name_that_this_box_lacks_are_left_out() {
    run(async {
        let port = free_port();
        let mixed = answers(&[Some(&["192.0.2.1", "127.0.0.1", "127.0.0.1"])]);
        let prepared = bind_by(&address("box", port), mixed, &Shelf::default()).await.unwrap();
        assert_eq!(prepared.opened.len(), 1);
        let foreign = bind_by(&address("box", port), answers(&[Some(&["192.0.2.1"])]), &Shelf::default()).await;
        assert!(matches!(foreign, Err(Error::Bind { .. })), "that is an error of the configuration");
    });
}

#[test]
fn who_waits_in_a_socket_that_is_closed_is_not_turned_away() {
    run(async {
        let port = free_port();
        let prepared = bind_by(&address("127.0.0.1", port), answers(&[None]), &Shelf::default()).await.unwrap();
        let listening = Listening::new(prepared, Alarms::default(), "HTTP", greet());
        // Nothing of ours runs between these.
        let waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
        listening.put(listening.prepare(&address("", port)).await.unwrap());
        greeted(waiting).await.unwrap();
    });
}
