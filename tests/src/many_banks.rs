//! Many mock banks in one process, over mutual TLS and HTTP/2, each with its own organisation,
//! certificate and behaviour.

use std::future::poll_fn;
use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bank_client::environment::{Clock as _, SystemClock};
use bank_client::{Bank, BankBuilder};
use fixtures::pki::{Identity, Organisation, Pki, Wanted, bank_b, enrol};
use h2::SendStream;
use h2::server::SendResponse;
use http::{Method, Request, Response, Uri};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::closed_port::ClosedPort;
use crate::sdk::bank_builder;
use crate::tls_terminator::acceptor;

type Body = Cursor<Vec<u8>>;

/// Treatment of clients by a bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// It answers as it should.
    Good,
    /// The port is closed.
    Closed,
    /// It accepts connections, and never responds.
    Silent,
    /// It trusts CA2 alone.
    Distrustful,
    /// Its certificate is of CA2.
    OtherAuthority,
    /// Its certificate is another bank's.
    Impostor,
    /// It resets the connection after the handshake.
    Reset,
    /// 503, every time.
    Down,
    /// 429, and come back in an hour.
    Busy,
    /// JSON that is no list of accounts.
    Malformed,
    /// A body without end.
    Endless,
    /// It answers as it should, but gives no balances along with the accounts.
    Terse,
    /// The second page of the current account's transactions is a 503.
    BreaksOff,
    /// The second page of the current account's transactions never comes.
    FallsSilent,
    /// After each page of transactions there is another.
    NeverEnds,
}

impl Manners {
    /// The ten ways in which a bank can be dead.
    pub const DEAD: [Self; 10] = [
        Self::Closed,
        Self::Silent,
        Self::Distrustful,
        Self::OtherAuthority,
        Self::Impostor,
        Self::Reset,
        Self::Down,
        Self::Busy,
        Self::Malformed,
        Self::Endless,
    ];
}

/// Banks that listen, for as long as the runtime runs they were started on.
pub struct ManyBanks {
    pub pki: Pki,
    pub banks: Vec<OneBank>,
}

/// One of them.
pub struct OneBank {
    pub name: String,
    pub manners: Manners,
    pub address: SocketAddr,
    pub organisation: String,
    counters: Arc<Counters>,
    /// Of a bank that is closed: the banks that are started after it cannot get its port.
    _reserved: Option<ClosedPort>,
}

/// Record of a bank's clients.
#[derive(Default)]
struct Counters {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Under way now.
    now: AtomicUsize,
    /// The most that were ever under way.
    most: AtomicUsize,
}

/// Form of a bank's answers.
struct Desk {
    manners: Manners,
    /// By which its amounts differ from the others'.
    number: usize,
    latency: Duration,
    counters: Arc<Counters>,
}

impl ManyBanks {
    /// Starts a bank for each of those manners; each answers a request after so long.
    pub async fn start(manners: impl IntoIterator<Item = Manners>, latency: Duration) -> Self {
        let now = SystemClock.now();
        let mut pki = Pki::make(now).unwrap();
        let mut banks = Vec::new();
        for (number, manners) in manners.into_iter().enumerate() {
            let organisation = license(&mut pki, number);
            let identity = match manners {
                Manners::OtherAuthority => pki.bank_c.qwac.clone(),
                Manners::Impostor => pki.bank_r.qwac.clone(),
                _ => enrol(
                    &pki.ca1,
                    &pki.register,
                    &organisation,
                    &Wanted::default(),
                    now,
                )
                .unwrap(),
            };
            let desk = Desk {
                manners,
                number,
                latency,
                counters: Arc::default(),
            };
            let counters = Arc::clone(&desk.counters);
            let reserved = (manners == Manners::Closed).then(ClosedPort::reserve);
            let address = match &reserved {
                Some(port) => port.address(),
                None => open(&pki, &identity, desk).await,
            };
            banks.push(OneBank {
                name: organisation.name,
                manners,
                address,
                organisation: organisation.id.unwrap(),
                counters,
                _reserved: reserved,
            });
        }
        Self { pki, banks }
    }

    /// Bank A's handles for all of them, in order.
    pub fn handles(&self, adjust: impl Fn(&OneBank, BankBuilder) -> BankBuilder) -> Vec<Bank> {
        let handle = |bank: &OneBank| {
            let own = &self.pki.bank_a.qwac;
            let builder = bank_builder(bank.address, &bank.organisation, &self.pki, own);
            adjust(bank, builder.name(&bank.name)).build().unwrap()
        };
        self.banks.iter().map(handle).collect()
    }
}

impl OneBank {
    /// Handshakes that succeeded so far.
    pub fn connections(&self) -> usize {
        self.counters.connections.load(Ordering::SeqCst)
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.counters.requests.load(Ordering::SeqCst)
    }

    /// Requests under way at this moment.
    pub fn under_way(&self) -> usize {
        self.counters.now.load(Ordering::SeqCst)
    }

    /// The most requests that were ever under way at a time.
    pub fn most_at_a_time(&self) -> usize {
        self.counters.most.load(Ordering::SeqCst)
    }
}

/// Enters another organisation in the register.
fn license(pki: &mut Pki, number: usize) -> Organisation {
    let organisation = Organisation {
        name: format!("Bank {number}"),
        id: Some(format!("PSDFR-ACPR-{}", 30_000 + number)),
        host: format!("bank-{number}.example"),
        ..bank_b()
    };
    let model = pki
        .register
        .organisations
        .iter()
        .find(|entry| entry.name == bank_b().name);
    let mut entry = model.unwrap().clone();
    entry.national_reference = organisation.id.as_deref().unwrap().parse().unwrap();
    entry.name.clone_from(&organisation.name);
    pki.register.organisations.push(entry);
    organisation
}

async fn open(pki: &Pki, identity: &Identity, desk: Desk) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clients = match desk.manners {
        Manners::Distrustful => &pki.ca2,
        _ => &pki.ca1,
    };
    let acceptor = acceptor(identity, &clients.root_pem().unwrap(), "h2");
    tokio::spawn(listen(listener, acceptor, Arc::new(desk)));
    address
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, desk: Arc<Desk>) {
    let mut ignored = Vec::new();
    while let Ok((tcp, _)) = listener.accept().await {
        if desk.manners == Manners::Silent {
            ignored.push(tcp);
            continue;
        }
        tcp.set_nodelay(true).unwrap();
        let (acceptor, desk) = (acceptor.clone(), Arc::clone(&desk));
        tokio::spawn(async move {
            // Who refuses us, or is refused, does not get further.
            if let Ok(tls) = acceptor.accept(tcp).await {
                desk.counters.connections.fetch_add(1, Ordering::SeqCst);
                desk.meet(tls).await;
            }
        });
    }
}

impl Desk {
    async fn meet(self: Arc<Self>, tls: TlsStream<TcpStream>) {
        if self.manners == Manners::Reset {
            tls.get_ref().0.set_zero_linger().unwrap();
            return;
        }
        let Ok(mut connection) = h2::server::Builder::new().handshake::<_, Body>(tls).await else {
            return;
        };
        while let Some(Ok((request, respond))) = connection.accept().await {
            let desk = Arc::clone(&self);
            tokio::spawn(async move { desk.serve(&request, respond).await });
        }
    }

    async fn serve<B>(&self, request: &Request<B>, mut respond: SendResponse<Body>) {
        let _under_way = UnderWay::begin(&self.counters);
        let latency = if self.manners == Manners::FallsSilent && on_second_page(request.uri()) {
            Duration::from_hours(1)
        } else {
            self.latency
        };
        tokio::select! {
            () = tokio::time::sleep(latency) => {}
            // The visitor has lost interest.
            _ = poll_fn(|context| respond.poll_reset(context)) => return,
        }
        let (status, body) = self.answer(request);
        let mut response = Response::builder()
            .status(status)
            .header("content-type", "application/json");
        if status == 429 {
            response = response.header("retry-after", "3600");
        }
        let response = response.body(()).unwrap();
        let Ok(mut sending) = respond.send_response(response, status == 204) else {
            return;
        };
        if self.manners == Manners::Endless {
            pour(sending).await;
        } else if status != 204 {
            let _ = sending.send_data(Cursor::new(body.to_string().into_bytes()), true);
        }
    }

    fn answer<B>(&self, request: &Request<B>) -> (u16, Value) {
        let refusal = |code| json!({ "tppMessages": [{ "category": "ERROR", "code": code }] });
        let down = (503, refusal("SERVICE_UNAVAILABLE"));
        match self.manners {
            Manners::Down => down,
            Manners::BreaksOff if on_second_page(request.uri()) => down,
            Manners::Busy => (429, refusal("ACCESS_EXCEEDED")),
            Manners::Malformed => (200, json!({ "accounts": "none" })),
            _ => self.answer_well(request.method(), request.uri()),
        }
    }

    fn answer_well(&self, method: &Method, uri: &Uri) -> (u16, Value) {
        let segments: Vec<_> = uri.path().split('/').skip(2).collect();
        let body = match segments.as_slice() {
            ["consents"] => {
                let link = json!({ "href": "/v1/consents/c" });
                let created = json!({ "consentStatus": "received", "consentId": "c", "_links": { "self": link } });
                return (201, created);
            }
            ["consents", _] if method == Method::DELETE => return (204, Value::Null),
            ["consents", ..] => json!({ "consentStatus": "valid" }),
            ["accounts", id, "balances"] => json!({ "balances": [self.balance(id)] }),
            ["accounts", id, "transactions"] => self.page(id, uri),
            _ => {
                let account = |id| {
                    let balances = (self.manners != Manners::Terse).then(|| [self.balance(id)]);
                    json!({ "resourceId": id, "currency": "EUR", "balances": balances })
                };
                json!({ "accounts": [account("current"), account("savings")] })
            }
        };
        (200, body)
    }

    fn balance(&self, account: &str) -> Value {
        let cents = if account == "current" { 1 } else { 2 };
        let amount = format!("{}.{cents:02}", self.number);
        json!({ "balanceType": "closingBooked", "balanceAmount": { "currency": "EUR", "amount": amount } })
    }

    /// Three transactions, and after them perhaps another page.
    fn page(&self, account: &str, uri: &Uri) -> Value {
        let page = page_of(uri);
        let entry = |number| {
            json!({
                "transactionId": format!("{account}-{page}-{number}"),
                "transactionAmount": { "currency": "EUR", "amount": "-1.00" }
            })
        };
        let booked: Vec<Value> = (0..3).map(entry).collect();
        let path = format!("/v1/accounts/{account}");
        let mut links = json!({ "account": { "href": &path } });
        let goes_on = match self.manners {
            Manners::BreaksOff | Manners::FallsSilent => account == "current",
            manners => manners == Manners::NeverEnds,
        };
        if goes_on {
            links["next"] = json!({ "href": format!("{path}/transactions?page={}", page + 1) });
        }
        json!({ "transactions": { "booked": booked, "_links": links } })
    }
}

/// Sends data until the client stops reading.
async fn pour(mut sending: SendStream<Body>) {
    loop {
        sending.reserve_capacity(16 * 1024);
        // Capacity is never released once the client has disconnected.
        let Some(Ok(room)) = poll_fn(|context| sending.poll_capacity(context)).await else {
            return;
        };
        if sending
            .send_data(Cursor::new(vec![b' '; room]), false)
            .is_err()
        {
            return;
        }
    }
}

fn page_of(uri: &Uri) -> u32 {
    let page = uri.query().and_then(|query| query.strip_prefix("page="));
    page.map_or(1, |page| page.parse().unwrap())
}

fn on_second_page(uri: &Uri) -> bool {
    page_of(uri) == 2
}

/// A request that is being answered.
struct UnderWay<'a>(&'a Counters);

impl<'a> UnderWay<'a> {
    fn begin(counters: &'a Counters) -> Self {
        counters.requests.fetch_add(1, Ordering::SeqCst);
        let now = counters.now.fetch_add(1, Ordering::SeqCst) + 1;
        counters.most.fetch_max(now, Ordering::SeqCst);
        Self(counters)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}
