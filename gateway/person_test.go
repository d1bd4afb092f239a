package gateway

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
)

// TestPersonSaysNothing: what becomes of a message when the person is not there, or gives the sign-in up: an error that
// says so, nothing sent, and the next message begins anew.
func TestPersonSaysNothing(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(*site, face.Question) face.Answer
		code   string
		says   string
	}{
		"denied":     {func(*site, face.Question) face.Answer { return face.Answer{Answered: true} }, "consent_denied", "the person said no"},
		"unanswered": {func(*site, face.Question) face.Answer { return face.Answer{} }, "consent_denied", "the person did not answer; ask again when they are at the computer"},
		"sign-in abandoned": {func(s *site, q face.Question) face.Answer {
			go s.abandon()
			return allow(q)
		}, "sign_in_required", "run vk signin"},
	} {
		t.Run(name, func(t *testing.T) {
			sent := 0
			s := newSite(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sent++ }))
			s.away = name == "sign-in abandoned"
			s.person = func(q face.Question) face.Answer { return c.answer(s, q) }
			resp, body := s.do("POST", at(s.resource), call, "Content-Type", "application/json")
			if a := s.read(body); resp.Header.Get(localapi.HeaderError) != c.code || string(a.ID) != "7" || !strings.Contains(a.Error.Message, c.says) || sent > 0 {
				t.Errorf("sent %d times; %d %s", sent, resp.StatusCode, body)
			}
			if len(s.asked) != 1 {
				t.Errorf("%d questions", len(s.asked))
			}
		})
	}
}

func allow(q face.Question) face.Answer {
	a := face.Answer{Answered: true, Allow: true, Mode: localapi.ModeAlways}
	for _, scope := range q.Scopes {
		a.Scopes = append(a.Scopes, scope.Name)
	}
	return a
}

// abandon gives up the sign-in under way, as the person does in the window.
func (s *site) abandon() {
	for range 1000 {
		for _, in := range s.head.State().SignIns {
			if in.URL != "" {
				if err := s.head.Wish(context.Background(), face.WishCancel{ID: in.ID}); err != nil {
					s.t.Errorf("it cannot be given up: %v", err)
				}
				return
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.t.Error("there was no sign-in to give up")
}
