package broker

import (
	"slices"
	"strings"
)

// offlineAccess asks the issuer for a refresh token (OpenID Connect Core §11). It is no power of a host, so it is kept
// out of every set that a host may have.
const offlineAccess = "offline_access"

// scopes is a sorted set of scopes without offline_access. Scopes are case-sensitive and have no hierarchy (RFC 6749
// §3.3), so sets of them are compared and never interpreted.
type scopes []string

func scopeSet(lists ...[]string) scopes {
	set := scopes{}
	for _, list := range lists {
		for _, s := range list {
			if s != offlineAccess && s != "" {
				set = append(set, s)
			}
		}
	}
	slices.Sort(set)
	return slices.Compact(set)
}

func (s scopes) covers(other scopes) bool { return len(other.minus(s)) == 0 }

func (s scopes) has(scope string) bool { _, ok := slices.BinarySearch(s, scope); return ok }

func (s scopes) minus(other scopes) scopes {
	return slices.DeleteFunc(slices.Clone(s), other.has)
}

func (s scopes) and(other scopes) scopes {
	return slices.DeleteFunc(slices.Clone(s), func(scope string) bool { return !other.has(scope) })
}

func (s scopes) equal(other scopes) bool { return slices.Equal(s, other) }

// key names the set in a map.
func (s scopes) key() string { return strings.Join(s, " ") }

// validScope reports whether s is a scope-token of RFC 6749 §3.3.
func validScope(s string) bool {
	if s == "" || len(s) > 512 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c == '"' || c == '\\' || c > 0x7e {
			return false
		}
	}
	return true
}
