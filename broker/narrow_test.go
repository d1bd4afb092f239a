package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
)

// TestIssuerThatAddsScopes: the issuer narrows, and puts what nobody asked for into every token.
func TestIssuerThatAddsScopes(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.issuer.Fault("/token", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			var answer map[string]any
			if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
				t.Error(err)
			}
			answer["scope"] = fmt.Sprint(answer["scope"], " email")
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(answer)
		})
		h.mustToken(host("claude"), "read", "write")
		asks := 0
		h.person = func(ctx context.Context, q face.Question) (face.Answer, error) {
			if asks++; asks == 1 {
				return yes(localapi.ModeAlways, "read")(ctx, q)
			}
			return always(ctx, q)
		}
		token := h.mustToken(host("cursor"), "read")
		last := h.questions()[len(h.questions())-1]
		if token.Scope != "email read" || len(last.Scopes) != 2 || !strings.Contains(last.Why, "puts these into every token, asked for or not: email") {
			t.Fatalf("the token is for %q after the question %+v", token.Scope, last)
		}
		h.person = forbidden(t)
		before := h.refreshes()
		if again := h.mustToken(host("cursor")); !again.AccessToken.Equal(token.AccessToken) || h.refreshes() != before {
			t.Error("the narrow token is not kept")
		}
		h.restart()
		if again := h.mustToken(host("cursor")); again.Scope != "email read" {
			t.Errorf("after a restart the token is for %q", again.Scope)
		}
		if sent := h.issuer.Requests("/token"); sent[len(sent)-1].Get("scope") != "read" {
			t.Errorf("asked the issuer for %q", sent[len(sent)-1].Get("scope"))
		}
		h.person = no
		if _, err := h.token(host("zed"), "read"); !errors.Is(err, localapi.ErrConsentDenied) {
			t.Errorf("err = %v", err)
		}
	})
}
