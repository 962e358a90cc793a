//! Who may approve. Fails closed: nobody is an approver who was not named, or given the role with a token, and with an
//! empty list nobody at all.

use std::fmt;
use std::str::FromStr;

use crate::desk::{Principal, Role, Standing, Surface};

/// Who may approve: Slack users `U…`, Slack user groups `S…`, `local` for the loopback console, and holders of API
/// tokens by `role:approver` or `role:admin`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvers {
    users: Vec<String>,
    groups: Vec<String>,
    local: bool,
    /// The least role of a token.
    role: Option<Role>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither a Slack user id (U…), a Slack user group id (S…), `local`, `role:approver` nor `role:admin`"
)]
pub struct InvalidApprover(String);

impl FromStr for Approvers {
    type Err = InvalidApprover;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let mut approvers = Self::default();
        for entry in list.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            let is_id = entry.len() >= 3
                && entry
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
            match entry.as_bytes()[0] {
                _ if entry == "local" => approvers.local = true,
                _ if entry == "role:approver" => approvers.role = Some(Role::Approver),
                _ if entry == "role:admin" => {
                    approvers.role = approvers.role.or(Some(Role::Admin));
                }
                // Members of an Enterprise Grid have ids that begin with W.
                b'U' | b'W' if is_id => approvers.users.push(entry.to_owned()),
                b'S' if is_id => approvers.groups.push(entry.to_owned()),
                _ => return Err(InvalidApprover(entry.to_owned())),
            }
        }
        Ok(approvers)
    }
}

/// Who a Slack user group held when it was asked about; `None` if Slack did not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMembers {
    pub group: String,
    pub members: Option<Vec<String>>,
}

/// Why somebody may not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAllowed {
    /// `APPROVERS` is empty.
    NobodyMayApprove,
    NotListed,
    /// A guest from another Slack workspace.
    ForeignTeam,
    /// Slack has not said yet which workspace is ours.
    TeamUnknown,
    /// Who asked for an action does not approve it.
    OwnRequest,
    /// Membership could not be checked, which counts as no.
    GroupUnknown {
        group: String,
    },
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyMayApprove => f.write_str(
                "nobody may approve: APPROVERS is empty, name users (U…), user groups (S…) or `local` in it",
            ),
            Self::NotListed => f.write_str("you are not among the approvers"),
            Self::ForeignTeam => f.write_str("approvers must be of this Slack workspace"),
            Self::TeamUnknown => f.write_str(
                "Slack did not say yet which workspace is nightbell's own, so nobody in Slack can be let in; try again in a minute",
            ),
            Self::OwnRequest => {
                f.write_str("you asked for this action yourself; somebody else has to approve it")
            }
            Self::GroupUnknown { group } => write!(
                f,
                "Slack did not say who is in user group {group}, so nobody can be let in by it now"
            ),
        }
    }
}

impl Approvers {
    /// True if nobody may approve.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty() && !self.local && self.role.is_none()
    }

    /// As the setting `APPROVERS` means a list: once anybody may approve, so may the tokens that grant it.
    #[must_use]
    pub fn with_tokens(mut self) -> Self {
        if !self.is_empty() && self.role.is_none() {
            self.role = Some(Role::Approver);
        }
        self
    }

    /// How many people there are at most; `None` where others know (the members of a group, the holders of tokens).
    #[must_use]
    pub fn at_most(&self) -> Option<usize> {
        (self.groups.is_empty() && self.role.is_none()).then(|| {
            self.users
                .iter()
                .collect::<std::collections::BTreeSet<_>>()
                .len()
                + usize::from(self.local)
        })
    }

    /// The user groups whose members have to be asked for before `principal` can be judged: none if it is clear without.
    #[must_use]
    pub fn groups_to_ask(&self, principal: &Principal) -> &[String] {
        match principal.surface {
            Surface::Slack if !self.users.contains(&principal.user) => &self.groups,
            Surface::Slack | Surface::Console | Surface::Cli | Surface::Api => &[],
        }
    }

    /// Whether `principal` may decide what `requested_by` asked for. `home_team` is our own Slack workspace, once known.
    ///
    /// # Errors
    /// Says why not.
    pub fn check(
        &self,
        principal: &Principal,
        requested_by: &str,
        home_team: Option<&str>,
        groups: &[GroupMembers],
    ) -> Result<(), NotAllowed> {
        if self.is_empty() {
            return Err(NotAllowed::NobodyMayApprove);
        }
        if principal.surface == Surface::Slack {
            let home = home_team.ok_or(NotAllowed::TeamUnknown)?;
            // An app of a whole organisation hears no workspace; the ids of people are unique in all of Slack.
            if principal.team.as_deref().is_some_and(|team| team != home) {
                return Err(NotAllowed::ForeignTeam);
            }
        }
        self.check_listed(principal, groups)?;
        if requested_by == name(principal) {
            return Err(NotAllowed::OwnRequest);
        }
        Ok(())
    }

    fn lets_token(&self, standing: Standing) -> bool {
        match (self.role, standing) {
            (Some(least), Standing::Token(role)) => role >= least,
            _ => false,
        }
    }

    fn check_listed(
        &self,
        principal: &Principal,
        groups: &[GroupMembers],
    ) -> Result<(), NotAllowed> {
        match principal.surface {
            // A token's subject may be called anything, so only who needed no token is the one at this machine.
            Surface::Console | Surface::Cli | Surface::Api
                if self.local
                    && principal.user == "local"
                    && principal.standing == Standing::Member =>
            {
                Ok(())
            }
            Surface::Slack if self.users.contains(&principal.user) => Ok(()),
            Surface::Slack => {
                let mut unknown = None;
                for group in &self.groups {
                    let known = groups.iter().find(|g| &g.group == group);
                    match known.and_then(|g| g.members.as_ref()) {
                        Some(members) if members.contains(&principal.user) => return Ok(()),
                        Some(_) => {}
                        None => unknown = Some(group.clone()),
                    }
                }
                Err(
                    unknown.map_or(NotAllowed::NotListed, |group| NotAllowed::GroupUnknown {
                        group,
                    }),
                )
            }
            // Whoever holds the secret, or runs the identity provider, granted the role.
            Surface::Api if self.lets_token(principal.standing) => Ok(()),
            Surface::Console | Surface::Cli | Surface::Api => Err(NotAllowed::NotListed),
        }
    }
}

/// How a person is named in approvals and in the audit: the user id in Slack, `local` at the console; the subject of an
/// API token is prefixed, so that it cannot pass for another.
#[must_use]
pub fn name(principal: &Principal) -> String {
    match principal.surface {
        Surface::Slack | Surface::Console | Surface::Cli => principal.user.clone(),
        Surface::Api => format!("api:{}", principal.user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::Role;

    fn slack(user: &str, team: &str) -> Principal {
        Principal {
            surface: Surface::Slack,
            user: user.into(),
            team: Some(team.into()),
            standing: Standing::Member,
        }
    }
    fn at(surface: Surface, user: &str) -> Principal {
        Principal {
            surface,
            user: user.into(),
            team: None,
            standing: Standing::Member,
        }
    }
    fn approvers(list: &str) -> Approvers {
        list.parse::<Approvers>().unwrap().with_tokens()
    }

    #[test]
    fn an_empty_list_means_nobody() {
        for list in ["", " , "] {
            assert_eq!(
                approvers(list).check(&slack("U1", "T1"), "policy", None, &[]),
                Err(NotAllowed::NobodyMayApprove)
            );
            assert_eq!(
                approvers(list).check(&at(Surface::Console, "local"), "policy", None, &[]),
                Err(NotAllowed::NobodyMayApprove)
            );
        }
    }

    #[test]
    fn only_who_is_named_may_decide() {
        let list = approvers("U01, S0GROUP,local");
        let group = |members: &[&str]| {
            vec![GroupMembers {
                group: "S0GROUP".into(),
                members: Some(members.iter().map(|&m| m.to_owned()).collect()),
            }]
        };
        let table = [
            (slack("U01", "T1"), vec![], Ok(())),
            (slack("U02", "T1"), group(&["U02"]), Ok(())),
            (
                slack("U03", "T1"),
                group(&["U02"]),
                Err(NotAllowed::NotListed),
            ),
            (slack("U01", "T2"), vec![], Err(NotAllowed::ForeignTeam)),
            (at(Surface::Slack, "U01"), vec![], Ok(())),
            (
                at(Surface::Slack, "U09"),
                vec![],
                Err(NotAllowed::GroupUnknown {
                    group: "S0GROUP".into(),
                }),
            ),
            (
                slack("U02", "T1"),
                vec![],
                Err(NotAllowed::GroupUnknown {
                    group: "S0GROUP".into(),
                }),
            ),
            (slack("local", "T1"), group(&[]), Err(NotAllowed::NotListed)),
            (at(Surface::Console, "local"), vec![], Ok(())),
            (at(Surface::Cli, "local"), vec![], Ok(())),
            (at(Surface::Cli, "U01"), vec![], Err(NotAllowed::NotListed)),
            (at(Surface::Api, "local"), vec![], Ok(())),
            (
                Principal {
                    standing: Standing::Token(Role::Operator),
                    ..at(Surface::Api, "local")
                },
                vec![],
                Err(NotAllowed::NotListed),
            ),
            (at(Surface::Api, "U01"), vec![], Err(NotAllowed::NotListed)),
        ];
        for (principal, groups, expected) in table {
            assert_eq!(
                list.check(&principal, "policy", Some("T1"), &groups),
                expected,
                "{principal:?}"
            );
        }
    }

    #[test]
    fn nobody_approves_what_they_asked_for() {
        let list = approvers("U01,U02");
        assert_eq!(
            list.check(&slack("U01", "T1"), "U01", Some("T1"), &[]),
            Err(NotAllowed::OwnRequest)
        );
        assert_eq!(
            list.check(&slack("U02", "T1"), "U01", Some("T1"), &[]),
            Ok(())
        );
    }

    #[test]
    fn a_token_of_an_approving_role_may_decide_once_anybody_may() {
        let token = |role| Principal {
            standing: Standing::Token(role),
            ..at(Surface::Api, "mira")
        };
        let list = approvers("U01");
        for (role, expected) in [
            (Role::Viewer, Err(NotAllowed::NotListed)),
            (Role::Operator, Err(NotAllowed::NotListed)),
            (Role::Approver, Ok(())),
            (Role::Admin, Ok(())),
        ] {
            assert_eq!(list.check(&token(role), "policy", None, &[]), expected);
            assert_eq!(
                approvers("").check(&token(role), "policy", None, &[]),
                Err(NotAllowed::NobodyMayApprove)
            );
        }
        assert_eq!(
            list.check(&token(Role::Admin), "api:mira", None, &[]),
            Err(NotAllowed::OwnRequest)
        );
        // A role is a token's: said of anybody else it grants nothing.
        let elsewhere = Principal {
            standing: Standing::Token(Role::Admin),
            ..slack("U02", "T1")
        };
        assert_eq!(
            list.check(&elsewhere, "policy", Some("T1"), &[]),
            Err(NotAllowed::NotListed)
        );
    }

    #[test]
    fn a_rule_names_the_roles_it_lets_in() {
        let token = |role| Principal {
            standing: Standing::Token(role),
            ..at(Surface::Api, "mira")
        };
        for (list, role, allowed) in [
            ("U01", Role::Admin, false),
            ("role:approver", Role::Approver, true),
            ("role:approver,role:admin", Role::Approver, true),
            ("role:admin", Role::Approver, false),
            ("role:admin", Role::Admin, true),
        ] {
            let named: Approvers = list.parse().unwrap();
            let decided = named.check(&token(role), "policy", None, &[]);
            assert_eq!(decided.is_ok(), allowed, "{list} {role}");
        }
        assert_eq!(
            "U01,U02,U01".parse::<Approvers>().unwrap().at_most(),
            Some(2)
        );
        assert_eq!("U01,S02".parse::<Approvers>().unwrap().at_most(), None);
    }

    #[test]
    fn until_slack_said_which_workspace_is_ours_nobody_in_slack_decides() {
        assert_eq!(
            approvers("U01").check(&slack("U01", "T1"), "policy", None, &[]),
            Err(NotAllowed::TeamUnknown)
        );
    }

    #[test]
    fn misspelt_approvers_are_refused_not_ignored() {
        for list in ["mira", "U01,@ops", "u01", "Local", "C0123", "U"] {
            assert!(list.parse::<Approvers>().is_err(), "{list}");
        }
    }

    #[test]
    fn groups_are_asked_for_only_when_they_decide() {
        let list = approvers("U01,S02");
        assert!(list.groups_to_ask(&slack("U01", "T")).is_empty());
        assert_eq!(list.groups_to_ask(&slack("U09", "T")), ["S02"]);
        assert!(list.groups_to_ask(&at(Surface::Cli, "local")).is_empty());
    }
}
