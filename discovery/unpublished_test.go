package discovery

import (
	"strings"
	"testing"
)

// BCK-1 to BCK-4: the issuer of a server that publishes nothing.
func TestOriginIssuer(t *testing.T) {
	const origin = "https://mcp.example.com"
	const place = "GET " + origin + "/.well-known/oauth-authorization-server"
	elsewhere := strings.ReplaceAll(asm(origin), origin+"/", origin+"/oauth/")
	tests := []struct {
		name     string
		answer   answer
		id       string // "": error
		endpoint string
		assumed  bool
		is       error
		says     string
	}{
		{"metadata counts", doc(elsewhere), origin, origin + "/oauth/token", false, nil, ""},
		{"a slash at the end", doc(asm(origin + "/")), origin + "/", origin + "/token", false, nil, ""},
		{"none", status(404), origin, origin + "/token", true, nil, ""},
		{"none, said otherwise", status(401), origin, origin + "/token", true, nil, ""},
		{"another's", doc(asm("https://evil.example")), "", "", false, ErrMismatch, "speaks for https://evil.example, not for " + origin},
		{"another path's", doc(asm(origin + "/t1")), "", "", false, ErrMismatch, ""},
		{"no PKCE", doc(strings.Replace(asm(origin), `"S256"`, `"s256"`, 1)), "", "", false, ErrNoPKCE, ""},
		{"broken", doc("{"), "", "", false, ErrInvalid, "not a JSON object"},
		{"a page", page, "", "", false, ErrInvalid, "text/html"},
		{"redirected away", status(302, "Location", "https://www.example.com/"), "", "", false, ErrInvalid, ""},
		{"away", down, "", "", false, ErrUnreachable, ""},
		{"broken server", status(503), "", "", false, ErrUnreachable, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, c := newWeb(map[string]answer{place: tt.answer})
			r, i, err := c.Unpublished(background, mcp)
			check(t, err, tt.is, tt.says)
			same(t, "asked", w.took(), []string{place})
			if err != nil {
				return
			}
			if i.ID != tt.id || i.TokenEndpoint != tt.endpoint || i.Assumed != tt.assumed || (i.metadataURL == "") != tt.assumed {
				t.Errorf("issuer %+v", i)
			}
			if r.ID != mcp || r.Server != mcp || !r.Unpublished || len(r.Issuers) != 1 || r.Issuers[0] != tt.id {
				t.Errorf("resource %+v", r)
			}
			again, err := c.OriginIssuer(background, mcp)
			if err != nil || again.ID != i.ID {
				t.Errorf("again: %+v, %v", again, err)
			}
			same(t, "asked again", w.took(), nil)
		})
	}
}
