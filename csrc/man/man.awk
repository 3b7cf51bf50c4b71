# SPDX-License-Identifier: Apache-2.0
#
# The manual pages, of what netns.h says: netns.3 for its conventions and types,
# a page for each group of calls under one comment, and links to it.
#
#     awk -v dir=FOLDER -f man.awk netns.h

function rest(line)
{
	sub(/^ \* ?/, "", line)
	return line
}

# "setns(2)" and what stands in backquotes is bold.
function roff(text,    done, at, word)
{
	gsub(/\\/, "\\e", text)
	while (match(text, /`[^`]*`|[a-z_]+\([1-9]\)/)) {
		word = substr(text, RSTART, RLENGTH)
		done = done substr(text, 1, RSTART - 1)
		text = substr(text, RSTART + RLENGTH)
		at = index(word, "(")
		if (word ~ /^`/)
			done = done "\\fB" substr(word, 2, length(word) - 2) "\\fP"
		else
			done = done "\\fB" substr(word, 1, at - 1) "\\fP" substr(word, at)
	}
	done = done text
	return done ~ /^[.']/ ? "\\&" done : done
}

function sentence(text)
{
	if (text ~ /^[a-z_0-9]+\(/)
		return text
	return toupper(substr(text, 1, 1)) substr(text, 2)
}

# As at tab stops of 8, which a page does not have.
function expanded(line,    at)
{
	while ((at = index(line, "\t")))
		line = substr(line, 1, at - 1) \
			substr("        ", (at - 1) % 8 + 1) substr(line, at + 1)
	gsub(/\\/, "\\e", line)
	return line
}

function title(file, name)
{
	printf ".TH %s 3 \"\" \"netns %s\" \"netns\"\n.nh\n", toupper(name), version >file
}

# A line of a comment that is no title: a heading, or running text.
function say(file, line,    heading, text)
{
	if (line == "") {
		fresh = 1
		return
	}
	if (match(line, /^[A-Z][a-z]+( and privilege)?(:|, with [^:]*:) ?/)) {
		heading = text = substr(line, 1, RLENGTH)
		sub(/[:,].*/, "", heading)
		sub(/^[A-Z][a-z]+( and privilege)?:? ?/, "", text)
		sub(/^, w/, "W", text)
		line = sentence(text substr(line, RLENGTH + 1))
		printf ".SH %s\n", toupper(heading) >file
		fresh = 0
	}
	if (fresh)
		print ".PP" >file
	fresh = 0
	print roff(line) >file
}

# The names that the declarations of a group declare, in names[].
function declared(    i, text, count)
{
	for (i = 1; i <= codes; i++)
		text = text " " coded[i]
	while (match(text, /[ *]netns_[a-z_]+\(/)) {
		names[++count] = substr(text, RSTART + 1, RLENGTH - 2)
		text = substr(text, RSTART + RLENGTH)
	}
	return count
}

function page(count,    file, i, line, titles, from, all)
{
	file = dir "/" names[1] ".3"
	title(file, names[1])
	print ".SH NAME" >file
	for (i = 1; i <= comments && comment[i] != ""; i++) {
		line = comment[i]
		if (line ~ /^netns_[a-z_, ]+ - /) {
			sub(/ - /, " \\- ", line)
			if (titles++)
				print ".br" >file
		}
		if (!titles)
			break
		print line >file
		toc[++entries] = (line ~ / \\- /) ? "" : roff(line)
		if (line ~ / \\- /) {
			toc[entries] = ".TP\n.B " substr(line, 1, index(line, " \\- ") - 1)
			toc[++entries] = roff(substr(line, index(line, " \\- ") + 4))
		}
	}
	from = i
	if (!titles) { # the first sentence serves
		for (i = 1; i <= count; i++)
			all = all (i > 1 ? ", " : "") names[i]
		line = comment[1]
		sub(/\.( .*)?$/, "", line)
		line = tolower(substr(line, 1, 1)) substr(line, 2)
		print all " \\- " line >file
		toc[++entries] = ".TP\n.B " all
		toc[++entries] = roff(line)
		from = 1
	}
	print ".SH SYNOPSIS\n.nf\n#include <netns.h>\n.sp" >file
	for (i = 1; i <= codes; i++)
		print coded[i] >file
	print ".fi" >file
	while (from <= comments && comment[from] == "")
		from++
	if (from <= comments && comment[from] !~ /^(Errors|Privilege|Source)/)
		print ".SH DESCRIPTION" >file
	fresh = 0
	for (i = from; i <= comments; i++)
		say(file, comment[i])
	print ".SH SEE ALSO\n.BR netns (3),\nof what all calls have in common" >file
	close(file)
	for (i = 2; i <= count; i++) {
		file = dir "/" names[i] ".3"
		print ".so man3/" names[1] ".3" >file
		close(file)
	}
}

function flush(    count, i)
{
	if (codes) {
		count = declared()
		if (count) {
			page(count)
		} else {
			types[++groups] = ""
			for (i = 1; i <= comments; i++)
				types[groups] = types[groups] (i > 1 ? "\n" : "") roff(comment[i])
			types[groups] = types[groups] (comments ? "\n" : "") ".nf"
			for (i = 1; i <= codes; i++)
				types[groups] = types[groups] "\n" coded[i]
			types[groups] = types[groups] "\n.fi"
		}
		comments = 0
	}
	codes = 0
}

/^#define NETNS_VERSION/ {
	version = $3
	gsub(/"/, "", version)
}
/cdef: begin/ { inside = 1; comments = 0; next }
/cdef: end/ { flush(); inside = 0; next }

# The first comment of more than one line has the conventions.
/^\/\*$/ { flush(); open = 1; comments = 0; next }
/^ \*\/$/ {
	open = 0
	if (!conventions) {
		conventions = comments
		for (i = 1; i <= comments; i++)
			convention[i] = comment[i]
	}
	next
}
open { comment[++comments] = rest($0); next }

!inside { next }
/^$/ { if (!depth) flush(); next }
/^\/\* .* \*\/$/ {
	flush()
	comments = 1
	comment[1] = substr($0, 4, length($0) - 6)
	next
}
{
	coded[++codes] = expanded($0)
	depth += gsub(/{/, "{") - gsub(/}/, "}")
}

END {
	file = dir "/netns.3"
	title(file, "netns")
	summary = convention[1]
	sub(/^netns: /, "", summary)
	sub(/\.$/, "", summary)
	print ".SH NAME\nnetns \\- " summary >file
	print ".SH SYNOPSIS\n.nf\n#include <netns.h>\n.sp\ncc ... $(pkg\\-config \\-\\-cflags \\-\\-libs netns)\n.fi" >file
	fresh = 0
	for (i = 2; i <= conventions; i++) {
		if (convention[i] != "Conventions")
			say(file, convention[i])
		else
			fresh = 0
	}
	print ".SH CALLS" >file
	for (i = 1; i <= entries; i++)
		print toc[i] >file
	print ".SH TYPES" >file
	for (i = 1; i <= groups; i++)
		print (i > 1 ? ".PP\n" : "") types[i] >file
	print ".SH SEE ALSO\n.BR network_namespaces (7),\n.BR setns (2),\n.BR ip\\-netns (8)" >file
}
