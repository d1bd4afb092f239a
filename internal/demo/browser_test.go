package demo

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// browseHandler opens a page of a site in memory; Answer presses the first button.
func browseHandler(t *testing.T, h http.HandlerFunc) (*Page, error) {
	t.Helper()
	b := Browser{
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			rec := httptest.NewRecorder()
			h(rec, r)
			return rec.Result(), nil
		}),
		Answer: func(_ context.Context, page *Page) (url.Values, error) {
			values := page.Form.Values
			values.Set(page.Form.Buttons[0].Name, page.Form.Buttons[0].Value)
			return values, nil
		},
	}
	return b.Open(t.Context(), "https://site.example/start?secret=1")
}

func TestBrowserWalks(t *testing.T) {
	page, err := browseHandler(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/start":
			http.SetCookie(w, &http.Cookie{Name: "visit", Value: "7"})
			http.Redirect(w, r, "/form", http.StatusFound)
		case "/form":
			fmt.Fprint(w, `<title> A
				form </title><form action="next?a=1"><input type=hidden name=h value=1><input type=checkbox name=c value=on checked>
				<input type=checkbox name=d value=on><input type=submit name=go value=Go></form>`)
		case "/next":
			cookie, err := r.Cookie("visit")
			fmt.Fprintf(w, "<p>query %s<p>cookie %v %v<script>no</script>", r.URL.RawQuery, cookie, err == nil)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	// A GET form replaces the query of its action.
	if want := []string{"query c=on&go=Go&h=1", "cookie visit=7 true"}; !slices.Equal(page.Lines, want) {
		t.Errorf("lines %q, want %q", page.Lines, want)
	}
}

func TestBrowserStops(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"circle":        {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/start", http.StatusFound) }, "in circles"},
		"form for ever": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<form><button>Go</button></form>") }, "in circles"},
		"script": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "javascript:alert(1)")
			w.WriteHeader(http.StatusFound)
		}, "no web address"},
		"file": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, "no web address"},
	} {
		if _, err := browseHandler(t, tt.handler); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
