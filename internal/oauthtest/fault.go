package oauthtest

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"time"
)

// Status answers with an HTTP status and a body that is no JSON.
func Status(status int) FaultFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(w, http.StatusText(status), status)
	}
}

// OAuthError answers with an RFC 6749 §5.2 error.
func OAuthError(status int, code, description string) FaultFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		writeJSON(w, status, map[string]any{"error": code, "error_description": description})
	}
}

// Body answers 200 with exactly this body, said to be JSON.
func Body(body string) FaultFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body) // a reader that went away is no news
	}
}

// Slow waits before the request is handled.
func Slow(d time.Duration) FaultFunc {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case <-time.After(d):
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
}

// SlowAnswer handles the request at once and waits before the answer leaves; the reader may be gone by then.
func SlowAnswer(d time.Duration) FaultFunc {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		select {
		case <-time.After(d):
			copyAnswer(w, rec)
		case <-r.Context().Done():
		}
	}
}

// Hang never answers and handles nothing.
func Hang() FaultFunc {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }
}

// Lost handles the request, but the answer never arrives: the connection breaks.
func Lost() FaultFunc {
	return func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
}

// Dropped breaks the connection before the request is handled.
func Dropped() FaultFunc {
	return func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }
}

// Member answers as ever, and adds one member to a JSON object that is no refusal.
func Member(name string, value func(r *http.Request) any) FaultFunc {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		var answer map[string]any
		if rec.Code == http.StatusOK && json.Unmarshal(rec.Body.Bytes(), &answer) == nil {
			answer[name] = value(r)
			rec.Body.Reset()
			json.NewEncoder(rec.Body).Encode(answer)
		}
		copyAnswer(w, rec)
	}
}

// IDToken is what an OpenID Connect issuer says of ada to client, good for an hour; edit may change it. It is not signed.
func IDToken(issuer, client string, edit func(claims map[string]any)) string {
	claims := map[string]any{"iss": issuer, "sub": "ada", "aud": client, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	if edit != nil {
		edit(claims)
	}
	body, _ := json.Marshal(claims)
	return "e30." + base64.RawURLEncoding.EncodeToString(body) + ".c2ln"
}

// Times applies f to the next n requests; later ones are handled as ever.
func Times(n int, f FaultFunc) FaultFunc {
	left := make(chan struct{}, n)
	for range n {
		left <- struct{}{}
	}
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case <-left:
			f(w, r, next)
		default:
			next.ServeHTTP(w, r)
		}
	}
}

func copyAnswer(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = rec.Body.WriteTo(w) // a reader that went away is no news
}
