// Package assets holds the bytes that are built into the programs: the callback page and the icons. The slices are
// shared: do not change them. The pictures are drawn by gen/main.go; icon.ico is for packaging only.
package assets

import _ "embed"

//go:generate go run ./gen

// CallbackPage is the html/template source of the page that a browser sign-in ends on. It is given the fields Tone
// ("good", "bad" or "calm"), Title, Text, ServerName, ServerHost, IssuerHost and Nonce (for its style element; it needs
// nothing else from a content security policy but images from data: URLs).
//
//go:embed callback.html
var CallbackPage string

//go:embed icon-512.png
var icon512 []byte

// Icon is the program's icon: PNG, 512 pixels wide.
func Icon() []byte { return icon512 }

// TrayIcon is the icon in the notification area when all is well: PNG, 64 pixels wide; on Windows an ICO of 16 to 64.
func TrayIcon() []byte { return tray }

// TrayAttention is TrayIcon while something waits for the person: with an amber dot.
func TrayAttention() []byte { return trayAttention }

// TrayProblem is TrayIcon while a sign-in is needed: grey, with a red exclamation mark.
func TrayProblem() []byte { return trayProblem }
