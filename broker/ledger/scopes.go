package ledger

import (
	"slices"
	"strings"
)

// OfflineAccess asks the issuer for a refresh token (OpenID Connect Core §11). It is no power of a host, so it is kept
// out of every set that a host may have.
const OfflineAccess = "offline_access"

// Scopes is a sorted set of scopes without offline_access. Scopes are case-sensitive and have no hierarchy (RFC 6749
// §3.3), so sets of them are compared and never interpreted.
type Scopes []string

// ScopeSet is all that is in one of the lists.
func ScopeSet(lists ...[]string) Scopes {
	set := Scopes{}
	for _, list := range lists {
		for _, s := range list {
			if s != OfflineAccess && s != "" {
				set = append(set, s)
			}
		}
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// Covers reports whether all of other is in s.
func (s Scopes) Covers(other Scopes) bool { return len(other.Minus(s)) == 0 }

// Has reports whether scope is in s.
func (s Scopes) Has(scope string) bool { _, ok := slices.BinarySearch(s, scope); return ok }

// Minus is what is in s and not in other.
func (s Scopes) Minus(other Scopes) Scopes {
	return slices.DeleteFunc(slices.Clone(s), other.Has)
}

// And is what is in both.
func (s Scopes) And(other Scopes) Scopes {
	return slices.DeleteFunc(slices.Clone(s), func(scope string) bool { return !other.Has(scope) })
}

// Equal reports whether both are the same set.
func (s Scopes) Equal(other Scopes) bool { return slices.Equal(s, other) }

// Key names the set in a map, and is the scope parameter for it (RFC 6749 §3.3).
func (s Scopes) Key() string { return strings.Join(s, " ") }

// ValidScope reports whether s is a scope-token of RFC 6749 §3.3.
func ValidScope(s string) bool {
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
