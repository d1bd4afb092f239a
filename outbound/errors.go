package outbound

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/valetkey/valetkey/internal/untrusted"
)

// What was refused by the rule, to be told apart with errors.Is. Anything else came from the network.
var (
	ErrURL      = errors.New("not an address for a request")      // no host, or a user name in it
	ErrScheme   = errors.New("not https")                         // and not http on this computer
	ErrAddress  = errors.New("an address that is too internal")   // or one where no server can be
	ErrRedirect = errors.New("a redirect that is not followed")   // to another origin, or one too many
	ErrTooLarge = errors.New("a response larger than is allowed") // more than MaxBody
)

// refusal says in full what one of the errors above says in general.
type refusal struct {
	kind error
	text string
}

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind, fmt.Sprintf(format, args...)}
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

// reason is err without the URL around it, which may hold what the person did not mean to show.
func reason(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// shown makes a host or an origin that others gave us fit for a message.
func shown(s string) string { return untrusted.Text(s, 100) }
