package localapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// The errors of the socket, the same on both sides of it: compare with errors.Is.
var (
	ErrBadRequest      = errors.New("bad request")
	ErrSignInRequired  = errors.New("sign-in required")
	ErrConsentRequired = errors.New("consent required")
	ErrConsentDenied   = errors.New("consent denied")
	ErrAudience        = errors.New("token not bound to this resource")
	ErrLocked          = errors.New("locked")
	ErrDiscovery       = errors.New("discovery failed")
	ErrIssuer          = errors.New("issuer refused")
	ErrUnavailable     = errors.New("unavailable")
	ErrInternal        = errors.New("internal error")
	ErrUnknownServer   = errors.New("unknown server")
	ErrVersion         = errors.New("unsupported API version")
)

// row is one error of the socket: its name on the wire, its HTTP status and vk's exit code.
type row struct {
	err    error
	code   string
	status int
	exit   int
}

// rows lists every error of the socket; docs/localapi.md shows the same table, and a test compares the two.
var rows = []row{
	{ErrBadRequest, "bad_request", http.StatusBadRequest, 2},
	{ErrSignInRequired, "sign_in_required", http.StatusUnauthorized, 4},
	{ErrConsentRequired, "consent_required", http.StatusForbidden, 3},
	{ErrConsentDenied, "consent_denied", http.StatusForbidden, 3},
	{ErrAudience, "audience", http.StatusForbidden, 9},
	{ErrLocked, "locked", http.StatusLocked, 5},
	{ErrDiscovery, "discovery", http.StatusBadGateway, 6},
	{ErrIssuer, "issuer", http.StatusBadGateway, 7},
	{ErrUnavailable, "unavailable", http.StatusServiceUnavailable, 8},
	{ErrInternal, "internal", http.StatusInternalServerError, 1},
	{ErrUnknownServer, "unknown_server", http.StatusNotFound, 2},
	{ErrVersion, "unsupported_version", http.StatusNotFound, 8},
}

// lookup finds the row of kind, and ErrInternal's for a kind that has none.
func lookup(kind error) row {
	for _, r := range rows {
		if errors.Is(kind, r.err) {
			return r
		}
	}
	return lookup(ErrInternal)
}

// Error is one answer that is not a success. Kind is one of the sentinels above; Message says what is so, Hint what to
// do; neither ever holds a secret.
type Error struct {
	Kind       error
	Message    string
	Hint       string
	RetryAfter time.Duration // 0: unknown
	RequestID  string        // joins the answer with the activity log
	Err        error         // the cause; it does not travel

	status int // instead of Kind's own: HTTP itself was used wrongly (403, 404, 405, 413, 415)
}

// Errorf makes an Error of a kind from a message.
func Errorf(kind error, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// WithHint returns e with a hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithStatus returns e with an HTTP status in place of its Kind's: HTTP itself was used wrongly.
func (e *Error) WithStatus(status int) *Error {
	e.status = status
	return e
}

func (e *Error) Error() string { return e.Message }

// Unwrap makes errors.Is find the sentinel and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Code is the error's name on the wire; ErrInternal's for a Kind that is none of the sentinels.
func (e *Error) Code() string { return lookup(e.Kind).code }

// HTTPStatus is the status the server answers with.
func (e *Error) HTTPStatus() int {
	if e.status != 0 {
		return e.status
	}
	return lookup(e.Kind).status
}

// ExitCode is what vk exits with for err: 0 for nil, the code of an Error's Kind, 1 for any other error.
func ExitCode(err error) int {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return lookup(e.Kind).exit
	}
	return lookup(err).exit
}

// maxRetryAfter bounds what a wire error may say, so that a duration cannot overflow.
const maxRetryAfter = 24 * time.Hour

type wireError struct {
	Code        string   `json:"code"`
	Message     string   `json:"message"`
	Hint        string   `json:"hint,omitempty"`
	RetryAfterS int      `json:"retry_after_s,omitempty"` // whole seconds, rounded up
	RequestID   string   `json:"request_id,omitempty"`
	Supported   []string `json:"supported,omitempty"` // API versions, with unsupported_version only
}

// MarshalJSON writes {"code":…,"message":…,"hint":…,"retry_after_s":…,"request_id":…}.
func (e *Error) MarshalJSON() ([]byte, error) {
	w := wireError{Code: e.Code(), Message: e.Message, Hint: e.Hint, RetryAfterS: e.retryAfterS(), RequestID: e.RequestID}
	if lookup(e.Kind).err == ErrVersion {
		w.Supported = versions
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote and turns the code back into its sentinel; a code that is not known here
// reads as ErrInternal.
func (e *Error) UnmarshalJSON(b []byte) error {
	var w wireError
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	retry := max(0, min(w.RetryAfterS, int(maxRetryAfter/time.Second)))
	*e = Error{Kind: ErrInternal, Message: w.Message, Hint: w.Hint, RetryAfter: time.Duration(retry) * time.Second, RequestID: w.RequestID}
	for _, r := range rows {
		if r.code == w.Code {
			e.Kind = r.err
		}
	}
	return nil
}

// retryAfterS is RetryAfter in whole seconds, rounded up; 0 when it is not known.
func (e *Error) retryAfterS() int {
	retry := max(0, min(e.RetryAfter, maxRetryAfter))
	return int((retry + time.Second - 1) / time.Second)
}
