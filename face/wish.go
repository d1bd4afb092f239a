package face

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"

	"github.com/valetkey/valetkey/localapi"
)

// Wish is something the person wants, said in a window or the tray. A face's word is the person's own: it is not asked
// about again. The types below are its kinds, and there are no others.
type Wish interface {
	kind() string // on the pair
}

// WishSignIn is to sign in to a server, also a new one.
type WishSignIn struct {
	Server  string `json:"server"` // a URL
	Account string `json:"account,omitempty"`
}

// WishClient is to set a client for the server's issuer and to sign in with it, or to take back what was set.
type WishClient struct {
	Server       string                       `json:"server"`
	Account      string                       `json:"account,omitempty"`
	Registration localapi.RegistrationRequest `json:"registration"` // as the person typed it: it holds secrets
}

// WishCancel is to end a [SignIn].
type WishCancel struct {
	ID string `json:"id"`
}

// WishOpenURL is to open the page of a [SignIn] again.
type WishOpenURL struct {
	ID string `json:"id"`
}

// WishForget is to forget a grant.
type WishForget struct {
	Resource string `json:"resource"`
	Account  string `json:"account,omitempty"`
}

// WishRevoke is to take back the consent of a host to a grant.
type WishRevoke struct {
	Resource string `json:"resource"`
	Account  string `json:"account,omitempty"`
	Host     string `json:"host"`
}

// WishResume is to end the pause of a host.
type WishResume struct {
	Host string `json:"host"`
}

// WishAccept is to let a quirk hold for a server: Name and Value are those of a [quirk.Quirk].
type WishAccept struct {
	Resource string `json:"resource"`
	Account  string `json:"account,omitempty"`
	Name     string `json:"name"`
	Value    string `json:"value,omitempty"`
}

// WishTakeBack is to let the server's quirk of that name hold no longer.
type WishTakeBack struct {
	Resource string `json:"resource"`
	Account  string `json:"account,omitempty"`
	Name     string `json:"name"`
}

// WishLook is to look for programs, and for what their files say now. What comes of it and of the wishes below is in
// State.Programs and State.Edit when they end.
type WishLook struct{}

// WishConnect is to work out an [Edit] that gives a server to a program.
type WishConnect struct {
	Program string `json:"program"` // its key
	Server  string `json:"server"`
}

// WishDisconnect is to work out an [Edit] that takes the entry of that name out of a program's file again.
type WishDisconnect struct {
	Program string `json:"program"`
	Server  string `json:"server"` // that the person sees there
	Name    string `json:"name"`
}

// WishWrite is to make an [Edit].
type WishWrite struct {
	ID string `json:"id"`
}

// WishDrop is to show an [Edit] no more.
type WishDrop struct {
	ID string `json:"id"`
}

// WishQuit is to end Valet Key.
type WishQuit struct{}

func (WishSignIn) kind() string     { return "sign_in" }
func (WishClient) kind() string     { return "client" }
func (WishCancel) kind() string     { return "cancel" }
func (WishOpenURL) kind() string    { return "open" }
func (WishForget) kind() string     { return "forget" }
func (WishRevoke) kind() string     { return "revoke" }
func (WishResume) kind() string     { return "resume" }
func (WishAccept) kind() string     { return "accept" }
func (WishTakeBack) kind() string   { return "take_back" }
func (WishLook) kind() string       { return "look" }
func (WishConnect) kind() string    { return "connect" }
func (WishDisconnect) kind() string { return "disconnect" }
func (WishWrite) kind() string      { return "write" }
func (WishDrop) kind() string       { return "drop" }
func (WishQuit) kind() string       { return "quit" }

// wishes is one of each kind.
var wishes = []Wish{WishSignIn{}, WishClient{}, WishCancel{}, WishOpenURL{}, WishForget{}, WishRevoke{}, WishResume{}, WishAccept{}, WishTakeBack{},
	WishLook{}, WishConnect{}, WishDisconnect{}, WishWrite{}, WishDrop{}, WishQuit{}}

// Wanted is a wish with a number that its [Result] will carry.
type Wanted struct {
	Call uint64
	Wish Wish
}

type wireWanted struct {
	Call uint64          `json:"call"`
	Kind string          `json:"kind"`
	Wish json.RawMessage `json:"wish"`
}

var errWish = errors.New("malformed wish") // the decoder's own error could quote a secret

// MarshalJSON names the kind of the wish beside it. What the person typed of a client goes over the pair in the clear.
func (w Wanted) MarshalJSON() ([]byte, error) {
	if w.Wish == nil {
		return nil, errWish
	}
	wish, err := json.Marshal(w.Wish)
	if err != nil {
		return nil, err
	}
	return json.Marshal(wireWanted{w.Call, w.Wish.kind(), wish})
}

// UnmarshalJSON reads what MarshalJSON wrote. An unknown kind, and a field that a kind does not have, are errors.
func (w *Wanted) UnmarshalJSON(b []byte) error {
	var wire wireWanted
	if strictly(b, &wire) != nil {
		return errWish
	}
	for _, one := range wishes {
		if one.kind() == wire.Kind {
			wish := reflect.New(reflect.TypeOf(one))
			if string(wire.Wish) == "null" || strictly(wire.Wish, wish.Interface()) != nil {
				return errWish
			}
			*w = Wanted{wire.Call, wish.Elem().Interface().(Wish)}
			return nil
		}
	}
	return errWish
}

func strictly(b []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}
