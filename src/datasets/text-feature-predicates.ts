/** What can be said of a token by its text alone. */

/**
 * True where the feature holds for a token's text, false where it does not, undefined where that cannot be known, because the
 * token is only part of a character.
 */
export type TextPredicate = (token: string) => boolean | undefined;

/** What a tokenizer writes for bytes that are no whole character. */
const PART_OF_A_CHARACTER = "\uFFFD";

/** A predicate that speaks of whole characters. */
function ofCharacters(pattern: RegExp): TextPredicate {
  return (token) => (token.includes(PART_OF_A_CHARACTER) ? undefined : pattern.test(token));
}

/**
 * The eleven text features of Gurnee et al. (2023), as functions of the decoded token. Letters, digits and white space are
 * Unicode's: a capital is of category Lu or Lt, a small letter Ll, a digit Nd. "Inner" text is the token without the white
 * space at its ends, so that a leading space changes only what speaks of white space.
 *
 * A token that is part of a character (its text holds U+FFFD) has a label for `has_leading_space` and `is_not_ascii` alone.
 *
 * | feature | positive when |
 * | --- | --- |
 * | `contains_digit` | some character is a digit |
 * | `all_digits` | the inner text is one or more digits |
 * | `contains_capital` | some character is a capital |
 * | `leading_capital` | the inner text begins with a capital |
 * | `all_capitals` | the inner text is one or more capitals, and nothing else |
 * | `contains_whitespace` | some character is white space, a leading space included |
 * | `has_leading_space` | the first character is U+0020 |
 * | `no_leading_space_and_loweralpha` | the token is one or more small letters (with combining marks), and nothing else |
 * | `contains_all_whitespace` | every character is white space |
 * | `is_not_alphanumeric` | the inner text is empty or holds something that is no letter, combining mark or number |
 * | `is_not_ascii` | some character lies beyond U+007F |
 */
export const TEXT_FEATURES: Readonly<Record<string, TextPredicate>> = Object.freeze({
  contains_digit: ofCharacters(/\p{Nd}/u),
  all_digits: ofCharacters(/^\s*\p{Nd}+\s*$/u),
  contains_capital: ofCharacters(/[\p{Lu}\p{Lt}]/u),
  leading_capital: ofCharacters(/^\s*[\p{Lu}\p{Lt}]/u),
  all_capitals: ofCharacters(/^\s*[\p{Lu}\p{Lt}]+\s*$/u),
  contains_whitespace: ofCharacters(/\s/u),
  has_leading_space: (token) => token.startsWith(" "),
  no_leading_space_and_loweralpha: ofCharacters(/^(?:\p{Ll}\p{M}*)+$/u),
  contains_all_whitespace: ofCharacters(/^\s+$/u),
  is_not_alphanumeric: (token) =>
    token.includes(PART_OF_A_CHARACTER) ? undefined : !/^[\p{L}\p{M}\p{N}]+$/u.test(token.trim()),
  is_not_ascii: (token) => /[^\0-\x7f]/.test(token),
});
