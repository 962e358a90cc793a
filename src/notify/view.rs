//! Alerts and groups with what hangs on them, as they are now: what every message is rendered from.

use std::sync::Arc;

use url::Url;

use super::Subject;
use super::links::LinkTemplate;
use crate::alert::Alert;
use crate::chat::alert::{AlertView, GroupView, Link, card, group_card};
use crate::chat::card::Card;
use crate::store::{Result, Store};

/// Members of a group whose approvals are looked up: more are not shown with buttons anyway.
const APPROVALS_READ: usize = 50;

/// Reads views; cheap to clone.
#[derive(Clone, Debug)]
pub struct Views {
    store: Store,
    /// Where people reach nightbell's own page.
    page: Option<Url>,
    /// Where else there is to read about an alert.
    elsewhere: Arc<[LinkTemplate]>,
}

impl Views {
    #[must_use]
    pub fn new(store: Store, page: Option<Url>) -> Self {
        Self {
            store,
            page,
            elsewhere: Arc::default(),
        }
    }

    /// Leads to more places than nightbell's own page.
    #[must_use]
    pub fn leading_to(mut self, elsewhere: &[LinkTemplate]) -> Self {
        self.elsewhere = elsewhere.into();
        self
    }

    /// An alert with its approval, execution and links.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alert(&self, alert: Alert) -> Result<AlertView> {
        let approval = self.store.latest_approval_of(&alert.id).await?;
        let execution = self.store.latest_execution_of(&alert.id).await?;
        let mut links = self.links(&format!("alert-{}", alert.number));
        links.extend(self.elsewhere.iter().filter_map(|link| link.of(&alert)));
        Ok(AlertView {
            alert,
            approval,
            execution,
            links,
        })
    }

    /// A group with its members; `None` if there is no such group.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn group(&self, id: &str) -> Result<Option<GroupView>> {
        let Some(group) = self.store.group(id).await? else {
            return Ok(None);
        };
        let mut members = Vec::new();
        for (n, alert) in self.store.group_members(id).await?.into_iter().enumerate() {
            members.push(if n < APPROVALS_READ && alert.approval_id.is_some() {
                self.alert(alert).await?
            } else {
                AlertView {
                    alert,
                    approval: None,
                    execution: None,
                    links: Vec::new(),
                }
            });
        }
        Ok(Some(GroupView {
            group,
            members,
            links: self.links("alerts"),
        }))
    }

    /// The message about `subject` as it should be now; `None` if there is no such thing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn card(&self, subject: &Subject) -> Result<Option<Card>> {
        Ok(match subject {
            Subject::Alert(id) => match self.store.alert(id).await? {
                Some(alert) => Some(card(&self.alert(alert).await?)),
                None => None,
            },
            Subject::Group(id) => self.group(id).await?.map(|view| group_card(&view)),
        })
    }

    fn links(&self, fragment: &str) -> Vec<Link> {
        let mut links = Vec::new();
        if let Some(page) = &self.page {
            let mut url = page.clone();
            url.set_fragment(Some(fragment));
            links.push(Link {
                label: "Open in nightbell".to_owned(),
                url: url.to_string(),
            });
        }
        links
    }
}
