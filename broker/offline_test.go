package broker

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/internal/oauthtest"
)

// TestIssuerThatKeepsOfflineAccess: it lists offline_access and gives it to nobody. The sign-in goes on without, once.
func TestIssuerThatKeepsOfflineAccess(t *testing.T) {
	lists := func(doc map[string]any) { doc["scopes_supported"] = []string{"read", "write", ledger.OfflineAccess} }
	refuse := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		q := r.URL.Query()
		if !strings.Contains(q.Get("scope"), ledger.OfflineAccess) {
			next.ServeHTTP(w, r)
			return
		}
		back := url.Values{"error": {"invalid_scope"}, "state": {q.Get("state")}, "iss": {issuerID}}
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	}
	inHouse(t, func(t *testing.T, h *house) {
		h.issuer.Metadata(lists)
		h.issuer.Fault("/authorize", refuse)
		if token := h.mustToken(host("claude"), "read"); token.Scope != "read" {
			t.Errorf("the token is for %q", token.Scope)
		}
		if h.browsers != 2 || h.issuer.Count("/register") != 1 || len(h.questions()) != 1 {
			t.Errorf("%d pages, %d registrations, %d questions", h.browsers, h.issuer.Count("/register"), len(h.questions()))
		}
	})
	inHouse(t, func(t *testing.T, h *house) {
		h.issuer.Metadata(lists)
		h.issuer.Fault("/token", oauthtest.OAuthError(http.StatusBadRequest, "not_allowed", "Offline tokens not allowed"))
		if _, err := h.token(host("claude"), "read"); err == nil || h.browsers != 2 {
			t.Errorf("err %v after %d pages, want two", err, h.browsers)
		}
	})
	inHouse(t, func(t *testing.T, h *house) { // nothing of ours to leave out
		h.issuer.Fault("/token", oauthtest.OAuthError(http.StatusBadRequest, "invalid_scope", ""))
		h.issuer.Metadata(func(doc map[string]any) { doc["scopes_supported"] = []string{"read", "write"} })
		if _, err := h.token(host("claude"), "read"); err == nil || h.browsers != 1 {
			t.Errorf("err %v after %d pages, want one", err, h.browsers)
		}
	})
}
