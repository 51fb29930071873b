//! Requests: where they go, who asks, which redirections are followed, and what is tried again.

use std::time::Duration;

use host_tensor::Stop;
use ureq::http::{HeaderMap, Method, Request, Response, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Error};

use crate::address::{is_same_origin, joined, shown};
use crate::answer;
use crate::ask::{Again, Ask, Trouble, unreachable};
use crate::pause::{TRIES_TO_REACH, wait};
use crate::{HubError, Settings};

/// Redirections of one request.
const MAX_REDIRECTS: usize = 10;
const CONNECT: Duration = Duration::from_secs(15);

/// Asks the Hub.
pub(crate) struct Client {
    agent: Agent,
    pub(crate) settings: Settings,
}

/// An answer of success.
pub(crate) struct Answer {
    pub(crate) response: Response<Body>,
    /// Who gave it.
    pub(crate) url: String,
    /// What the Hub itself said of the file, before it led elsewhere.
    pub(crate) first: HeaderMap,
}

impl Client {
    pub(crate) fn new(settings: Settings) -> Self {
        let silence = Some(settings.patience.silence);
        // The system's certificates: a company's proxy has its own.
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .user_agent(concat!("smelt/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(silence)
            .timeout_per_read(silence)
            .timeout_per_write(silence);
        Self { agent: config.build().new_agent(), settings }
    }

    /// Asks once, and follows redirections; only the Hub itself is told who asks.
    pub(crate) fn ask(&self, ask: &Ask<'_>) -> Result<Answer, Trouble> {
        let mut url = ask.url.to_owned();
        let mut first: Option<HeaderMap> = None;
        for _ in 0..MAX_REDIRECTS {
            let response = self.send(ask, &url)?;
            let status = response.status();
            let headers = response.headers();
            let location = headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
            match location.filter(|_| status.is_redirection()) {
                // What is asked for is said by the Hub, and the rest of the way only leads to the bytes.
                Some(to) if ask.method == Method::HEAD && !self.is_hub(&joined(&url, to).unwrap_or_default()) => {
                    let first = first.unwrap_or_else(|| headers.clone());
                    return Ok(Answer { response, url, first });
                }
                Some(to) => {
                    let next = self.followed(&url, to)?;
                    first.get_or_insert_with(|| headers.clone());
                    url = next;
                }
                None if status.is_success() => {
                    let first = first.unwrap_or_else(|| headers.clone());
                    return Ok(Answer { response, url, first });
                }
                None => return Err(answer::refusal(&self.settings, self.is_hub(&url), ask, &url, response)),
            }
        }
        let (url, to) = (shown(ask.url).to_owned(), shown(&url).to_owned());
        Err(HubError::Redirect { url, to, what: format!("more than {MAX_REDIRECTS} redirections") }.into())
    }

    /// Whether an address is the Hub's, which may be told who asks.
    pub(crate) fn is_hub(&self, url: &str) -> bool {
        is_same_origin(url, &self.settings.endpoint)
    }

    fn followed(&self, from: &str, location: &str) -> Result<String, HubError> {
        let refuse = |to: &str, what: &str| {
            let (url, to) = (shown(from).to_owned(), shown(to).to_owned());
            HubError::Redirect { url, to, what: what.to_owned() }
        };
        let to = joined(from, location).ok_or_else(|| refuse(location, "nothing is fetched from there"))?;
        if from.starts_with("https:") && !to.to_ascii_lowercase().starts_with("https:") {
            return Err(refuse(&to, "that connection would not be encrypted any more, and is not followed"));
        }
        Ok(to)
    }

    fn send(&self, ask: &Ask<'_>, url: &str) -> Result<Response<Body>, Trouble> {
        let mut request = Request::builder().method(&ask.method).uri(url).header(header::ACCEPT_ENCODING, "identity");
        if ask.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", ask.from));
        }
        if let Some(token) = self.settings.token.as_ref().filter(|_| self.is_hub(url)) {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        let request = request.body(()).map_err(|error| unreachable(url, &Error::Http(error)))?;
        self.agent.run(request).map_err(|error| unreachable(url, &error))
    }

    /// Tries until it works, or is not worth another try.
    pub(crate) fn patiently<T>(
        &self,
        stop: &Stop,
        note: &mut dyn FnMut(String),
        mut attempt: impl FnMut() -> Result<T, Trouble>,
    ) -> Result<T, HubError> {
        let mut n_failed = 0;
        loop {
            match attempt() {
                Ok(done) => return Ok(done),
                Err(trouble) => {
                    n_failed += 1;
                    self.pause(trouble, n_failed, stop, note)?;
                }
            }
        }
    }

    /// Waits before the next try, or gives the trouble back as an error where there is none.
    pub(crate) fn pause(
        &self,
        trouble: Trouble,
        n_failed: u32,
        stop: &Stop,
        note: &mut dyn FnMut(String),
    ) -> Result<(), HubError> {
        let patience = self.settings.patience;
        let (tries, asked) = match trouble.again {
            Again::Never => return Err(*trouble.error),
            Again::Reach => (TRIES_TO_REACH.min(patience.tries), None),
            Again::After(asked) => (patience.tries, asked),
        };
        if n_failed >= tries || asked.is_some_and(|asked| asked > patience.longest) {
            return Err(*trouble.error);
        }
        let pause = asked.unwrap_or_else(|| patience.pause_behind(n_failed));
        note(format!("{}; trying again in {:.0} s", briefly(&trouble.error), pause.as_secs_f64().ceil()));
        wait(pause, stop)
    }
}

/// What failed, without what to do about it.
fn briefly(error: &HubError) -> String {
    match error {
        HubError::Answer { url, status, .. } => format!("{url} answered {status}"),
        HubError::Unreachable { url, what, .. } => format!("{url}: {what}"),
        other => other.to_string(),
    }
}
