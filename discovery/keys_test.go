package discovery

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeys(t *testing.T) {
	const server, place = "https://mcp.example.com/mcp", "https://issuer.example.com/jwks"
	first, second := doc(`{"keys":[{"kid":"1"}]}`, "Cache-Control", "max-age=3600"), doc(`{"keys":[{"kid":"2"}]}`, "Cache-Control", "max-age=3600")
	issuer := &Issuer{ID: "https://issuer.example.com", keysEndpoint: place}
	synctest.Test(t, func(t *testing.T) {
		w, c := newWeb(map[string]answer{"GET " + place: first})
		get := func(i *Issuer, again bool) string {
			t.Helper()
			set, err := c.Keys(t.Context(), server, i, again)
			if err != nil {
				t.Fatal(err)
			}
			return string(set)
		}
		is := func(got, kid string, fetched int) {
			t.Helper()
			if want := `{"keys":[{"kid":"` + kid + `"}]}`; got != want || len(w.asked) != fetched {
				t.Errorf("%s after %d fetches, want %s after %d", got, len(w.asked), want, fetched)
			}
		}
		is(get(issuer, false), "1", 1)
		is(get(issuer, false), "1", 1)
		w.answers["GET "+place] = second
		is(get(issuer, true), "1", 1) // they were fetched just now
		time.Sleep(keysAgain)
		is(get(issuer, false), "1", 1)
		is(get(issuer, true), "2", 2)
		is(get(issuer, true), "2", 2)
		is(get(issuer, false), "2", 2)
		other := &Issuer{ID: "https://other.example.com", keysEndpoint: place}
		is(get(other, false), "2", 3) // one address, and still nothing shared
		time.Sleep(time.Hour)
		is(get(issuer, false), "2", 4)
	})
}

func TestKeysThatAreNotThere(t *testing.T) {
	const server, place = "https://mcp.example.com/mcp", "https://issuer.example.com/jwks"
	for name, tt := range map[string]struct {
		endpoint string
		answer   answer
		want     error
	}{
		"no address":       {"", answer{}, ErrNotFound},
		"not there":        {place, status(404), nil},
		"down":             {place, down, ErrUnreachable},
		"busy":             {place, status(503), ErrUnreachable},
		"a page":           {place, page, nil},
		"no keys in it":    {place, doc(`{}`), ErrInvalid},
		"inside the house": {"https://127.0.0.1/jwks", doc(`{"keys":[]}`), ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := newWeb(map[string]answer{"GET " + tt.endpoint: tt.answer})
			set, err := c.Keys(t.Context(), server, &Issuer{ID: "https://issuer.example.com", keysEndpoint: tt.endpoint}, false)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%s, %v", set, err)
			}
		})
	}
}
